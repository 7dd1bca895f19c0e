import { systemClock } from "@muster/base";
import { uuid } from "../testing/fixture.ts";
import { hypervisorContract } from "./hypervisor.contract.ts";
import { SimulatedMachine } from "./simulated.ts";

hypervisorContract("simulated", async () => {
  const total = { vcpus: 8, memoryMiB: 16_384, diskGiB: 100, gpus: 0 };
  const machine = new SimulatedMachine({ clock: systemClock, total, startMs: 2, stopMs: 1 });
  return {
    connect: () => machine.connect(),
    async addForeign() {
      machine.addForeign(uuid(1, 9), { vcpus: 2, memoryMiB: 256, diskGiB: 0, gpus: 0 });
      return uuid(1, 9);
    },
    guestStops: async (vm) => machine.guestStops(vm),
    remove: async () => {},
  };
});
