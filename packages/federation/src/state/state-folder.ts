import { homedir } from "node:os";
import { join } from "node:path";

/** Paths of one federation below its state folder. */
export type StateFolder = {
  readonly root: string;
  /** Where sites and tokens are listed for the command line. */
  readonly federationFile: string;
  readonly supervisorFile: string;
  readonly processesFile: string;
  readonly authority: string;
  readonly logs: string;
  /** Data of etcd's members, and certificates for TLS with them. */
  readonly etcd: string;
  site(name: string): SiteFolder;
};

export type SiteFolder = {
  readonly root: string;
  readonly server: string;
  readonly certificates: string;
  readonly manager: string;
  readonly secrets: string;
  host(name: string): HostFolder;
};

export type HostFolder = { readonly root: string; readonly hypervisor: string };

export function stateFolder(root: string): StateFolder {
  return {
    root,
    federationFile: join(root, "federation.json"),
    supervisorFile: join(root, "supervisor.json"),
    processesFile: join(root, "processes.json"),
    authority: join(root, "authority"),
    logs: join(root, "logs"),
    etcd: join(root, "etcd"),
    site: (name) => siteFolder(join(root, name)),
  };
}

function siteFolder(root: string): SiteFolder {
  return {
    root,
    server: join(root, "xmpp"),
    certificates: join(root, "certificates"),
    manager: join(root, "manager"),
    secrets: join(root, "secrets"),
    host: (name) => ({ root: join(root, name), hypervisor: join(root, name, "v") }),
  };
}

/** `cluster.yaml` of one manager of a site. */
export function managerConfigFile({ manager }: SiteFolder, name: string): string {
  return join(manager, `cluster-${name}.yaml`);
}

/** Where a federation on one machine keeps its state when nobody says otherwise. */
export function defaultStateRoot(env: NodeJS.ProcessEnv = process.env): string {
  if (env.MUSTER_STATE !== undefined && env.MUSTER_STATE !== "") return env.MUSTER_STATE;
  if (process.getuid?.() === 0) return "/var/lib/muster/up";
  return join(env.XDG_STATE_HOME ?? join(homedir(), ".local", "state"), "muster");
}
