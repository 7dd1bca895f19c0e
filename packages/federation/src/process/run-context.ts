import type { Clock, Rng } from "@muster/base";
import type { ProcessDeath } from "./managed-process.ts";
import type { ProcessRecord } from "./process-record.ts";

/** What all parts of a running federation share. */
export type RunContext = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly record: ProcessRecord;
  readonly logs: string;
  readonly hypervisor: "libvirt" | "simulated";
  readonly onDeath: (death: ProcessDeath) => void;
};
