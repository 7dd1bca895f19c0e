/** What the command line needs to look after a site's store while no manager runs. */

export { type BackupSummary, readBackup } from "./backup-file.ts";
export {
  type RestoreFault,
  type RestoreOptions,
  type RestoreReport,
  restoreBackup,
  restoreInPlace,
} from "./restore.ts";
export { readSiteConfig } from "./site-config.ts";
export { examineStore, type StoreFinding } from "./store-examination.ts";
