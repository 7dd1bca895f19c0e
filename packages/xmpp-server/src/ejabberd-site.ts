import { join } from "node:path";
import type { FieldFault } from "@muster/base";
import { type ProsodyPorts, type ProsodySite, siteFaults } from "./prosody-site.ts";

/**
 * All that the configuration of one site's ejabberd is made from: that of a site on Prosody, less what ejabberd has not.
 * It knows neither a component port with certificates nor tokens with which hosts register their own accounts.
 */
export type EjabberdSite = Omit<ProsodySite, "componentTls" | "pendingTokensMax" | "ports"> & {
  readonly ports?: Partial<Omit<ProsodyPorts, "componentTls">>;
};

/** Paths below the site's folder. */
export type EjabberdFiles = {
  readonly config: string;
  /** Erlang's own resolver: told to ask nobody. */
  readonly inetrc: string;
  /** Seen by this process in the place of /etc/hosts and /etc/nsswitch.conf, where the site has names of its own. */
  readonly hosts: string;
  readonly nsswitch: string;
  readonly spool: string;
  /** Our module, its source and what the Erlang compiler made of it. */
  readonly modules: string;
  readonly log: string;
  readonly pid: string;
  /** Unix socket of the commands: whoever opens it rules the server. The folder (0700) guards it. */
  readonly adminSocket: string;
};

export function ejabberdFiles(folder: string): EjabberdFiles {
  return {
    config: join(folder, "ejabberd.yml"),
    inetrc: join(folder, "inetrc"),
    hosts: join(folder, "hosts"),
    nsswitch: join(folder, "nsswitch.conf"),
    spool: join(folder, "spool"),
    modules: join(folder, "modules"),
    log: join(folder, "ejabberd.log"),
    pid: join(folder, "ejabberd.pid"),
    adminSocket: join(folder, "ejabberd.sock"),
  };
}

/** Everything wrong with a site, all at once; empty when a server can be started from it (S1). */
export function ejabberdFaults(site: EjabberdSite): FieldFault[] {
  const faults = siteFaults(site);
  if (Buffer.byteLength(ejabberdFiles(site.folder).adminSocket) > SOCKET_PATH_BYTES_MAX)
    faults.push({
      field: "folder",
      message: `its path must leave room for a socket in ${SOCKET_PATH_BYTES_MAX} bytes`,
    });
  // Erlang reads the path as a text in quotes of its own.
  if (/["'\\\p{Cc}]/u.test(site.folder))
    faults.push({ field: "folder", message: "must be without quotes, backslashes and control characters" });
  return faults;
}

/** `sun_path` of a unix socket on Linux, without the closing zero byte. */
const SOCKET_PATH_BYTES_MAX = 107;
