import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Demand, HostOption } from "./host-option.ts";
import { Rankings } from "./rankings.ts";
import { schedule } from "./schedule.ts";
import { weightsOf } from "./scores.ts";

const WEIGHTS = weightsOf({});
const SIZE = { vcpus: 8, memoryMiB: 8_192, diskGiB: 100, gpus: 0 };

type Change = { readonly name: string; readonly free: number; readonly draining: boolean; readonly gone: boolean };

const changes = fc.array(
  fc.record<Change>({
    name: fc.constantFrom("h1", "h2", "h3", "h4", "h5", "h6"),
    free: fc.nat(8),
    draining: fc.boolean(),
    gone: fc.boolean(),
  }),
  { maxLength: 60 },
);
const wishes = fc.array(
  fc.record({ vcpus: fc.integer({ min: 1, max: 9 }), avoid: fc.constantFrom(undefined, new Set(["h2"])) }),
  { minLength: 1, maxLength: 4 },
);

function demandOf(vcpus: number, avoid: ReadonlySet<string> | undefined): Demand {
  return { resources: { vcpus, memoryMiB: 128, diskGiB: 1, gpus: 0 }, labels: [], images: ["debian-12"], avoid };
}

function optionOf({ name, free, draining }: Change): HostOption {
  return {
    name,
    ...(draining ? { obstacle: { reason: "draining", message: "it is being drained" } } : {}),
    full: false,
    size: SIZE,
    free: { ...SIZE, vcpus: free },
    vms: 8 - free,
    labels: {},
    images: new Set(),
    affinity: new Map(),
    antiAffinity: new Map(),
  };
}

describe("rankings", () => {
  it("decide as the scheduler does on all hosts, however those change in between", () => {
    fc.assert(
      fc.property(changes, wishes, (all, demands) => {
        const rankings = new Rankings(WEIGHTS);
        const hosts = new Map<string, { option(): HostOption }>();
        for (const change of all) {
          if (change.gone) hosts.delete(change.name);
          else hosts.set(change.name, { option: () => optionOf(change) });
          rankings.touched(change.name);
          for (const { vcpus, avoid } of demands) {
            const demand = demandOf(vcpus, avoid);
            const options = [...hosts.values()].map((host) => host.option());
            expect(rankings.decide(demand, hosts)).toEqual(schedule(demand, options, WEIGHTS));
          }
        }
      }),
    );
  });

  it("S2: forget the oldest demands, and hosts that changed more often than they were asked about", () => {
    const rankings = new Rankings(WEIGHTS);
    const change = { name: "h1", free: 8, draining: false, gone: false };
    const hosts = new Map([
      ["h1", { option: () => optionOf(change) }],
      ["h2", { option: () => optionOf({ ...change, name: "h2", free: 4 }) }],
    ]);
    for (let round = 0; round < 2_000; round += 1) {
      change.free = round % 2 === 0 ? 8 : 1;
      rankings.touched("h1");
      const vcpus = 1 + (round % 40) / 100;
      const best = round % 2 === 0 ? "h1" : "h2";
      expect(rankings.decide(demandOf(1, undefined), hosts)).toMatchObject({ kind: "host", host: best });
      expect(rankings.decide(demandOf(vcpus, undefined), hosts)).toMatchObject({ kind: "host" });
    }
  });

  it("ask a host that did not change only once", () => {
    const rankings = new Rankings(WEIGHTS);
    let asked = 0;
    const option = (): HostOption => {
      asked += 1;
      return optionOf({ name: "h1", free: 8, draining: false, gone: false });
    };
    const hosts = new Map([["h1", { option }]]);
    for (let round = 0; round < 10; round += 1) rankings.decide(demandOf(1, undefined), hosts);
    expect(asked).toBe(1);
  });
});
