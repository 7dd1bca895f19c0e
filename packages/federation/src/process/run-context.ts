import type { Clock, Rng } from "@muster/base";
import type { HostPlan, SitePlan } from "../plan/federation-plan.ts";
import type { HostFolder } from "../state/state-folder.ts";
import type { HostMachine } from "./host-machine.ts";
import type { ProcessDeath } from "./managed-process.ts";
import type { ProcessRecord } from "./process-record.ts";

/** What all parts of a running federation share. */
export type RunContext = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly record: ProcessRecord;
  readonly logs: string;
  /** The machine under a host manager; none where the host manager simulates it. */
  readonly machineOf: (site: SitePlan, host: HostPlan, folder: HostFolder) => HostMachine | undefined;
  readonly onDeath: (death: ProcessDeath) => void;
};
