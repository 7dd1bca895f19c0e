import { type Clock, ok, type Result, type Rng } from "@muster/base";
import type { Config } from "../config.ts";
import { readEtcdAccess } from "../store/etcd-access.ts";
import { type EtcdFollower, followEtcdStore } from "../store/etcd-follower.ts";
import { type EtcdTry, etcdStoreOpener } from "../store/etcd-open.ts";
import { openLevelStore } from "../store/level-store.ts";
import type { Store } from "../store/store.ts";
import type { StoreFault } from "../store/store-fault.ts";

/** Tries to become leader over the site's store; may be called again and again. */
export type OpenStore = () => Promise<Result<Store, StoreFault>>;

/** The site's store as a manager that wants to lead has it at hand. */
export type SiteStore =
  | { readonly kind: "level"; readonly path: string; readonly open: OpenStore }
  | {
      readonly kind: "etcd";
      /** `deposing`: the term of a leader that was found dead or hung. */
      readonly open: (now: Omit<EtcdTry, "url">) => Promise<Result<Store, StoreFault>>;
      /** Begins a copy that is kept up to date, for as long as this manager waits. */
      readonly follow: () => EtcdFollower;
    };

/** What a store tells the manager that uses it, and is told by it. */
export type StoreEars = {
  readonly onWarning: (message: string) => void;
  /** Another manager was found to lead. */
  readonly onDeposed: (term: number) => void;
  /** Base address of our HTTP API, once it listens. */
  readonly url: () => string;
};

/** The store that the configuration names. Its files are read once, here; all that are at fault are named. */
export function siteStore(
  config: Config,
  parts: { readonly clock: Clock; readonly rng: Rng },
): Result<(ears: StoreEars) => SiteStore, string> {
  const { name: manager, site, store } = config;
  if (store.kind === "level") {
    const { path } = store;
    return ok(() => ({ kind: "level", path, open: () => openLevelStore({ path, manager }) }));
  }
  const access = readEtcdAccess(store);
  if (!access.ok) return access;
  const { endpoints, prefix, termFloor } = store;
  const shared = { ...parts, site, endpoints, prefix, ...access.value };
  return ok(({ onWarning, onDeposed, url }) => {
    const tell = onceEach(onWarning);
    const open = etcdStoreOpener({ ...shared, manager, termFloor, onWarning: tell, onDeposed });
    return {
      kind: "etcd",
      open: (now) => open({ ...now, url: url() }),
      follow: () => followEtcdStore({ ...shared, onTrouble: tell }),
    };
  });
}

/** What is tried every few hundred milliseconds must not fill the log. */
function onceEach(tell: (message: string) => void): (message: string) => void {
  let last = "";
  return (message) => {
    if (message !== last) tell(message);
    last = message;
  };
}
