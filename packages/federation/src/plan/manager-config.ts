import type { ManagerPlan, SitePlan } from "./federation-plan.ts";

/** How managers reach etcd: addresses of its members, and the files for TLS both ways. */
export type EtcdAccess = {
  readonly endpoints: readonly string[];
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
};

/** Where a manager finds what its configuration names. */
export type ManagerPaths = {
  /** Folder of the `level` store, or the etcd that is the store. */
  readonly store: string | EtcdAccess;
  /** Folder for the content of images that users and admins add. */
  readonly images?: string;
  readonly cloudSecretFile: string;
  readonly managerSecretFile: string;
  readonly tokensFile: string;
  readonly siteKeyFile: string;
  /** Certificate of the authority, for new hosts. */
  readonly caFile: string;
};

export type PeerKey = { readonly domain: string; readonly publicKey: string };

/** How a peer is reached where that is not from server to server, as `cluster.yaml` says it. */
export type PeerReach =
  | { readonly kind: "account"; readonly jid: string }
  | {
      readonly kind: "client";
      readonly jid: string;
      readonly server: string;
      readonly passwordFile: string;
      readonly caFile: string;
    };

/** A peer of the configuration. */
export type ConfiguredPeer = PeerKey & { readonly reach?: PeerReach };

/** Address under which a process reaches a service: its site's own, or another where containers have names. */
export type ServiceHosts = { readonly component: string; readonly api: string; readonly clients: string };

/** `cluster.yaml` of one manager of a site, as plain data. */
export function managerConfig(
  site: SitePlan,
  manager: ManagerPlan,
  peers: readonly ConfiguredPeer[],
  paths: ManagerPaths,
  hosts: ServiceHosts = { component: site.address, api: site.address, clients: site.address },
): object {
  return {
    site: site.domain,
    name: manager.name,
    xmpp: {
      host: hosts.component,
      port: 5347,
      secretFile: paths.cloudSecretFile,
      managerSecretFile: paths.managerSecretFile,
    },
    store: typeof paths.store === "string" ? { kind: "level", path: paths.store } : { kind: "etcd", ...paths.store },
    api: { host: hosts.api, port: manager.apiPort, tokensFile: paths.tokensFile },
    enrolment: { service: `xmpps://${hosts.clients}:5223`, caFile: paths.caFile },
    hosts: site.hosts.map(({ name }) => name),
    images: site.images,
    ...(paths.images === undefined ? {} : { imageStore: { folder: paths.images } }),
    siteKeyFile: paths.siteKeyFile,
    peers: peers.map(({ domain, publicKey, reach }) => ({
      domain,
      publicKey,
      borrow: true,
      lend: { accept: true, share: 0.5, leaseMsMax: 3_600_000, vmsMax: 50, images: [], networks: "tunnel" },
      ...(reach === undefined ? {} : { reach }),
    })),
    watchers: [{ jid: `admin@${site.domain}`, role: "admin" }],
    timing: { suspectAfterMissed: 2, lostAfterMissed: 4, settleMs: 3_000, rememberMs: 3_600_000 },
  };
}
