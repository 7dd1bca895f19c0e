import { type Clock, err, ok, type Result, type Rng, readSecret } from "@muster/base";
import type { Config, EtcdStoreConfig } from "../config.ts";
import { type EtcdStoreOptions, etcdStoreOpener } from "../store/etcd-open.ts";
import { openLevelStore } from "../store/level-store.ts";
import type { Store } from "../store/store.ts";
import type { StoreFault } from "../store/store-fault.ts";

/**
 * Tries to become leader over the site's store; may be called again and again. `deposing`: the term of a leader that was
 * found dead or hung, where the store lets a living one be deposed.
 */
export type OpenStore = (deposing?: number) => Promise<Result<Store, StoreFault>>;

/**
 * How to open the store that the configuration names, given who hears what its admin should know. Its files are read
 * once, here; all that are at fault are named.
 */
export function siteStore(
  config: Config,
  parts: { readonly clock: Clock; readonly rng: Rng },
): Result<(onWarning: (message: string) => void) => OpenStore, string> {
  const { name: manager, site, store } = config;
  if (store.kind === "level") return ok(() => () => openLevelStore({ path: store.path, manager }));
  const access = readAccess(store);
  if (!access.ok) return access;
  const options: EtcdStoreOptions = {
    ...parts,
    site,
    manager,
    endpoints: store.endpoints,
    prefix: store.prefix,
    termFloor: store.termFloor,
    ...access.value,
  };
  return ok((onWarning) => {
    const said = new Set<string>();
    const once = (message: string): void => {
      if (!said.has(message)) onWarning(message);
      said.add(message);
    };
    return etcdStoreOpener({ ...options, onWarning: once });
  });
}

function readAccess(store: EtcdStoreConfig): Result<Pick<EtcdStoreOptions, "tls" | "auth">, string> {
  const faults: string[] = [];
  const read = (file: string | undefined): string | undefined => {
    if (file === undefined) return undefined;
    const text = readSecret(file);
    if (!text.ok) faults.push(text.error.message);
    return text.ok ? text.value : undefined;
  };
  const [ca, cert, key, user, password] = [
    store.caFile,
    store.certFile,
    store.keyFile,
    store.userFile,
    store.passwordFile,
  ].map(read);
  if (faults.length > 0) return err(faults.join("\n"));
  return ok({
    tls: { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) },
    auth: user === undefined || password === undefined ? undefined : { user, password },
  });
}
