import { seededRng, VirtualClock } from "@muster/base";
import { cloudAddress, hostAccount } from "@muster/protocol";
import { memoryNetwork } from "@muster/xmpp";
import { expect, it } from "vitest";
import { hostConfigSchema } from "./config.ts";
import { createHostManager, type HostManager } from "./host-manager.ts";
import { SimulatedMachine } from "./hypervisor/simulated.ts";
import { memoryJournal } from "./journal/memory.ts";
import { command } from "./testing/fixture.ts";
import { TestLeader } from "./testing/leader.ts";

const SITE = "alpha.test";
const STEP_MS = 5;

/** What a leader heard in ten seconds of three hosts, on a network that loses and repeats; all of it from one seed. */
async function run(seed: number): Promise<string> {
  const clock = new VirtualClock();
  const rng = seededRng(seed);
  const faults = { lossRate: 0.05, duplicateRate: 0.1, delayMinMs: 1, delayMaxMs: 40 };
  const network = memoryNetwork({ clock, rng: seededRng(rng.int(2 ** 32)), faults });
  const cloud = network.component(cloudAddress(SITE));
  const leader = new TestLeader(cloud);
  cloud.start();
  const managers: HostManager[] = [];
  for (const name of ["h1", "h2", "h3"]) {
    const manager = createHostManager({
      config: hostConfigSchema.parse({
        site: SITE,
        name,
        state: "/nowhere",
        xmpp: { service: "xmpps://127.0.0.1:5223", passwordFile: "/nowhere" },
        hypervisor: { kind: "simulated" },
        heartbeatMs: 1_000,
      }),
      clock,
      rng: seededRng(rng.int(2 ** 32)),
      bus: network.client(`${hostAccount(name, SITE)}/hm`),
      hypervisor: new SimulatedMachine({
        clock,
        total: { vcpus: 8, memoryMiB: 8_192, diskGiB: 100, gpus: 0 },
        startMs: 150,
      }).connect(),
      journal: memoryJournal(),
      log: { info: () => {}, warn: () => {}, error: () => {} },
      onFatal: (reason) => {
        throw new Error(reason);
      },
    });
    await manager.start();
    managers.push(manager);
  }
  const move = async (durationMs: number): Promise<void> => {
    for (let passedMs = 0; passedMs < durationMs; passedMs += STEP_MS) {
      clock.advance(STEP_MS);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await move(2_000);
  for (let vm = 1; vm <= 5; vm += 1) void leader.command(command(vm, "start", { vm })).catch(() => {});
  await move(8_000);
  const stopped = Promise.all(managers.map((manager) => manager.stop()));
  await move(1_000);
  await stopped;
  await cloud.stop();
  return JSON.stringify([leader.presences, leader.capacities, leader.notices]);
}

it("the same seed gives the same run on a virtual clock, another seed another", { timeout: 30_000 }, async () => {
  const [first, again, other] = [await run(11), await run(11), await run(12)];
  expect(again).toBe(first);
  expect(other).not.toBe(first);
  expect(first).toContain('"state":"running"');
});
