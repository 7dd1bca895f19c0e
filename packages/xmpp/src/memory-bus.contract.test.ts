import { seededRng, VirtualClock } from "@muster/base";
import { type BusWorld, busContract } from "./bus.contract.ts";
import type { Bus } from "./bus.ts";
import { memoryNetwork } from "./memory-bus.ts";

/** Lets promises settle that need no time. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function memoryWorld(): Promise<BusWorld> {
  const clock = new VirtualClock();
  const network = memoryNetwork({ clock, rng: seededRng(1), connectMs: 1, faults: { delayMinMs: 1, delayMaxMs: 3 } });
  const addresses = new Map<Bus, string>();
  const times = { pingAfterMs: 200, pongWithinMs: 200 };
  const keep = (bus: Bus, address: string): Bus => {
    addresses.set(bus, address);
    return bus;
  };
  const addressOf = (bus: Bus): string => addresses.get(bus) ?? "";
  network.component("cloud.alpha.test");
  return {
    domain: "alpha.test",
    cloud: "cloud.alpha.test",
    async client(name, options) {
      const address = `${name}@alpha.test/desk`;
      return keep(network.client(address, { times, ...options }), address);
    },
    async component(options) {
      return keep(network.component("cloud.alpha.test", { times, ...options }), "cloud.alpha.test");
    },
    cut: (bus) => network.cut(addressOf(bus)),
    freeze: (bus) => network.freeze(addressOf(bus)),
    async until(what, condition) {
      const endMs = clock.nowMs() + 60_000;
      for (await settle(); !condition(); await settle()) {
        if (clock.nowMs() > endMs) throw new Error(`never: ${what}`);
        clock.advance(5);
      }
    },
    async close() {
      const stops = [...addresses.keys()].map((bus) => bus.stop());
      clock.advance(10_000);
      await Promise.all(stops);
    },
  };
}

busContract("in memory, on a virtual clock", memoryWorld);
