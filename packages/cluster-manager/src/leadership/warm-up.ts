import { type Clock, type Rng, VirtualClock } from "@muster/base";
import { cloudAddress } from "@muster/protocol";
import { memoryNetwork } from "@muster/xmpp";
import { pino } from "pino";
import type { ClusterManager, ClusterManagerOptions } from "../cluster-manager.ts";
import { MemoryDisk, openMemoryStore } from "../store/memory-store.ts";
import type { Store } from "../store/store.ts";

export type WarmUpOptions = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly domain: string;
  /** Makes a leader as it would be made in earnest. */
  readonly makeManager: (
    store: Store,
    parts: Pick<ClusterManagerOptions, "bus" | "log" | "hosts" | "onEnd">,
  ) => Promise<ClusterManager>;
};

/** Requests of the rehearsal: enough for the compiler to take notice. */
const ROUNDS = 20;

/**
 * A rehearsal: leads for a moment over a store and a network in memory, so that everything is loaded and compiled when it
 * counts. Nothing of it reaches the site.
 */
export async function warmUp({ clock, rng, domain, makeManager }: WarmUpOptions): Promise<void> {
  const opened = await openMemoryStore({ disk: new MemoryDisk() });
  if (!opened.ok) return;
  const bus = memoryNetwork({ clock: new VirtualClock(), rng }).component(cloudAddress(domain));
  const log = pino({ level: "silent" });
  const manager = await makeManager(opened.value, { bus, log, hosts: ["rehearsal"], onEnd: () => {} });
  await manager.api.ready();
  await manager.start();
  for (let round = 0; round < ROUNDS; round += 1) {
    await manager.api.inject({ method: "POST", url: "/v1/vms", payload: {} });
    await manager.loop.read((views) => views.site(clock.nowMs()));
  }
  await manager.stop();
  await opened.value.close();
}
