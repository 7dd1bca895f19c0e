/** What the command line needs to know of a federation on this machine, without loading what runs one. */
export { DEFAULT_WISH, HYPERVISORS, SERVERS } from "../plan/federation-plan.ts";
export { HOST_ENTRY, nodeProgram } from "../process/node-program.ts";
export { readFederationFile, type SiteEntry } from "./federation-file.ts";
export { defaultStateRoot } from "./state-folder.ts";
