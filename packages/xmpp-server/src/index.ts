export type { Account, EnrolmentToken } from "./account-commands.ts";
export { ejabberdConfig } from "./ejabberd-config.ts";
export { EjabberdServer, type EjabberdServerOptions } from "./ejabberd-server.ts";
export { type EjabberdFiles, type EjabberdSite, ejabberdFaults, ejabberdFiles } from "./ejabberd-site.ts";
export { type OfflineSiteOptions, writeOfflineSite } from "./offline-site.ts";
export {
  ensureAuthority,
  ensureManagerCertificate,
  ensureSiteCertificate,
  type LeafOptions,
  type ManagerCertificate,
  type PrivateAuthority,
  type SiteCertificate,
} from "./private-authority.ts";
export { hostsFile, prosodyConfig } from "./prosody-config.ts";
export { ProsodyServer, type ProsodyServerOptions } from "./prosody-server.ts";
export {
  type ComponentTls,
  certificateNames,
  cloudDomain,
  managerDomain,
  type NamedAddress,
  PROSODY_PORTS,
  type ProsodyPorts,
  type ProsodySite,
  type SiteFiles,
  siteFaults,
  siteFiles,
} from "./prosody-site.ts";
export { findRunAs, type RunAs } from "./run-as.ts";
export { describeServerFault, type ServerFault } from "./server-fault.ts";
export type { ServerExit } from "./server-life.ts";
