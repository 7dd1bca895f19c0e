export { Federation, type FederationOptions } from "./federation.ts";
export {
  apiUrls,
  DEFAULT_WISH,
  type FederationPlan,
  type FederationWish,
  type HostPlan,
  type HypervisorKind,
  planFederation,
  type ServerKind,
  type SitePlan,
} from "./plan/federation-plan.ts";
export type { EtcdRun } from "./process/etcd-run.ts";
export type { HostRun } from "./process/host-run.ts";
export type { ProcessDeath } from "./process/managed-process.ts";
export { HOST_ENTRY, nodeProgram } from "./process/node-program.ts";
export type { SiteRun } from "./process/site-run.ts";
export { type MachinePlan, planMachines } from "./qemu/machine-plan.ts";
export { probeQemuRights, type QemuRights } from "./qemu/rights.ts";
export { type FederationFile, readFederationFile, type SiteEntry } from "./state/federation-file.ts";
export { defaultStateRoot, stateFolder } from "./state/state-folder.ts";
export { runTour, type TourReport } from "./tour/tour.ts";
export { followPlainly, LiveView, type ViewedSite } from "./view/live-view.ts";
