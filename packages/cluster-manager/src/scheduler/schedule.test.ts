import { lacking, type Resources } from "@muster/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { couldTake, refusedBy } from "./filters.ts";
import type { Demand, HostOption } from "./host-option.ts";
import { explain, schedule } from "./schedule.ts";
import { weightsOf } from "./scores.ts";

const WEIGHTS = weightsOf({});

function host(name: string, part: Partial<HostOption> = {}): HostOption {
  const size: Resources = { vcpus: 16, memoryMiB: 32_768, diskGiB: 500, gpus: 0 };
  return {
    name,
    full: false,
    size,
    free: size,
    vms: 0,
    labels: {},
    images: new Set(),
    affinity: new Map(),
    antiAffinity: new Map(),
    ...part,
  };
}

const NETWORKS = {
  abilities: ["bridge", "vxlan"],
  bridges: ["lan"],
  lacks: [{ ability: "vlan", reason: "make a trunk" }],
};

function demand(part: Partial<Demand> = {}): Demand {
  return {
    resources: { vcpus: 2, memoryMiB: 2_048, diskGiB: 10, gpus: 0 },
    labels: [],
    images: ["debian-12"],
    ...part,
  };
}

const amounts = (most: number) =>
  fc.record({
    vcpus: fc.nat(most),
    memoryMiB: fc.nat(most * 1_024),
    diskGiB: fc.nat(most * 10),
    gpus: fc.nat(2),
  });

const hosts = fc
  .uniqueArray(
    fc.record({
      name: fc.stringMatching(/^h[0-9]{1,3}$/),
      size: amounts(64),
      taken: amounts(64),
      obstacle: fc.option(fc.constant({ reason: "draining", message: "it is being drained" }), { nil: undefined }),
      full: fc.boolean(),
      vms: fc.nat(20),
      labels: fc.dictionary(fc.constantFrom("zone", "ssd"), fc.constantFrom("a", "b")),
      image: fc.boolean(),
      group: fc.boolean(),
      anti: fc.boolean(),
    }),
    { selector: ({ name }) => name, maxLength: 12 },
  )
  .map((all) =>
    all.map(({ size, taken, image, group, anti, ...rest }) =>
      host(rest.name, {
        ...rest,
        size,
        free: {
          vcpus: Math.max(0, size.vcpus - taken.vcpus),
          memoryMiB: Math.max(0, size.memoryMiB - taken.memoryMiB),
          diskGiB: Math.max(0, size.diskGiB - taken.diskGiB),
          gpus: Math.max(0, size.gpus - taken.gpus),
        },
        images: new Set(image ? ["debian-12"] : []),
        affinity: new Map(group ? [["g", 1]] : []),
        antiAffinity: new Map(anti ? [["a", 1]] : []),
      }),
    ),
  );

const demands = fc
  .record({
    resources: amounts(8),
    labels: fc.constantFrom<readonly (readonly [string, string])[]>([], [["zone", "a"]]),
    affinity: fc.constantFrom(undefined, "g"),
    antiAffinity: fc.constantFrom(undefined, "a"),
    avoid: fc.constantFrom(undefined, new Set(["h1"])),
  })
  .map((part) => demand(part));

describe("laws of the scheduler", () => {
  it("P2: the chosen host always fits, and passes every filter", () => {
    fc.assert(
      fc.property(demands, hosts, (wanted, all) => {
        const decision = schedule(wanted, all, WEIGHTS);
        if (decision.kind === "none") return all.every((option) => refusedBy(wanted, option) !== undefined);
        const chosen = all.find(({ name }) => name === decision.host);
        return (
          chosen !== undefined &&
          chosen.obstacle === undefined &&
          lacking(chosen.free, wanted.resources) === undefined &&
          refusedBy(wanted, chosen) === undefined
        );
      }),
    );
  });

  it("decides the same whatever the order of the hosts", () => {
    fc.assert(
      fc.property(demands, hosts, (wanted, all) => {
        const { kind, ...there } = schedule(wanted, all, WEIGHTS);
        const back = schedule(wanted, [...all].reverse(), WEIGHTS);
        expect(back.kind).toBe(kind);
        if ("host" in there && back.kind === "host") expect(back.host).toBe(there.host);
      }),
    );
  });

  it("P4: explains every host once, the chosen one first, the refused with reason and sentence", () => {
    fc.assert(
      fc.property(demands, hosts, (wanted, all) => {
        const candidates = explain(wanted, all, WEIGHTS);
        expect(candidates.map(({ name }) => name).sort()).toEqual(all.map(({ name }) => name).sort());
        const decision = schedule(wanted, all, WEIGHTS);
        if (decision.kind === "host") expect(candidates[0]).toMatchObject({ name: decision.host, verdict: "chosen" });
        for (const { verdict, reason, message } of candidates) {
          expect(message).not.toBe("");
          expect(reason === undefined).toBe(verdict !== "refused");
        }
      }),
    );
  });
});

describe("what decides", () => {
  it("equal hosts: the first by name", () => {
    expect(schedule(demand(), [host("b"), host("a"), host("c")], WEIGHTS)).toMatchObject({ host: "a" });
  });

  it.each([
    ["the emptier host", { free: { vcpus: 8, memoryMiB: 16_384, diskGiB: 400, gpus: 0 } }, {}, {}],
    ["the host that has the image", {}, { images: new Set(["debian-12"]) }, {}],
    ["the host of its affinity group", {}, { affinity: new Map([["g", 1]]), vms: 4 }, { affinity: "g" }],
    ["the host with fewer VMs", { vms: 3 }, {}, {}],
    [
      "the host without GPUs, for one that needs none",
      { size: { vcpus: 16, memoryMiB: 32_768, diskGiB: 500, gpus: 2 } },
      {},
      {},
    ],
  ])("prefers %s", (_, first, second, wanted) => {
    expect(schedule(demand(wanted), [host("a", first), host("b", second)], WEIGHTS)).toMatchObject({ host: "b" });
  });

  it.each([
    ["lost", host("a", { obstacle: { reason: "lost", message: "it is not heard any more" } }), {}],
    ["lacks-memory", host("a", { free: { vcpus: 4, memoryMiB: 100, diskGiB: 100, gpus: 0 } }), {}],
    ["too-small", host("a"), { resources: { vcpus: 17, memoryMiB: 1, diskGiB: 1, gpus: 0 } }],
    ["lacks-label", host("a", { labels: { zone: "b" } }), { labels: [["zone", "a"]] as const }],
    ["anti-affinity", host("a", { antiAffinity: new Map([["a", 1]]) }), { antiAffinity: "a" }],
    ["turned-down", host("a"), { avoid: new Set(["a"]) }],
    ["lacks-network", host("a", { networks: NETWORKS }), { networks: [{ name: "red", abilities: ["vlan"] }] }],
    ["lacks-network", host("a", { networks: NETWORKS }), { networks: [{ name: "dmz", abilities: ["bridge"] }] }],
    [
      "lacks-network",
      host("a", { networks: NETWORKS }),
      { networks: [{ name: "x", abilities: ["vxlan", "outside"] }] },
    ],
    ["full", host("a", { full: true }), {}],
  ])("refuses a host for the reason %s", (reason, option, wanted) => {
    expect(refusedBy(demand(wanted), option)?.reason).toBe(reason);
  });

  it("P4: names the network, and the host's own remedy; takes what is there, and hosts that say nothing of networks", () => {
    const red = demand({ networks: [{ name: "red", abilities: ["vlan"] }] });
    expect(refusedBy(red, host("a", { networks: NETWORKS }))?.message).toBe(
      "it cannot attach VMs to red (vlan): make a trunk",
    );
    const dmz = demand({ networks: [{ name: "dmz", abilities: ["bridge"] }] });
    expect(refusedBy(dmz, host("a", { networks: NETWORKS }))?.message).toContain("no bridge for dmz");
    const lan = demand({ networks: [{ name: "lan", abilities: ["bridge"] }] });
    expect(refusedBy(lan, host("a", { networks: NETWORKS }))).toBeUndefined();
    expect(refusedBy(red, host("a"))).toBeUndefined();
    expect(couldTake(red, host("a", { networks: NETWORKS }))).toBe(false);
  });

  it("lets a site weigh otherwise, and ignores names that are no scores", () => {
    const weights = weightsOf({ vcpus: -5, memory: -5, disk: 0, constructor: 99 });
    const packed = host("b", { free: { vcpus: 4, memoryMiB: 8_192, diskGiB: 100, gpus: 0 } });
    expect(schedule(demand(), [host("a"), packed], weights)).toMatchObject({ host: "b" });
  });
});
