import { dirname, isAbsolute, resolve } from "node:path";
import {
  BALANCE_MOVES_MAX,
  hostNameSchema,
  imageReferenceSchema,
  lenderRulesShape,
  onNoticeSchema,
  projectNameSchema,
  resourcesSchema,
  siteDomainSchema,
  xmppServiceSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { SitePolicy } from "./core/core.ts";
import { anchorFencing, fencingSchema } from "./fencing/fence-config.ts";
import { accountsDiffer, anchorReach, reachConfigSchema, reachOf } from "./peering/reach-config.ts";

const share = z.number().min(0).max(1);
const port = z.int().min(0).max(65_535);
const durationMs = (leastMs: number, mostMs: number) => z.int().min(leastMs).max(mostMs);
const path = z.string().min(1).max(4_096);
/** Longest life of an enrolment token: a week. */
export const ENROLMENT_SECONDS_MAX = 7 * 24 * 3_600;
const DAY_MS = 24 * 3_600_000;

/** TLS around the link, for a server on another machine; files hold PEM. */
const linkTlsSchema = z.strictObject({
  /** File with the certificates that sign the server's; no others are trusted. */
  ca: path,
  /** Files with this manager's own certificate, for `cm-<name>.<site>`, and its key. */
  cert: path,
  key: path,
  /** The name that the server's certificate must carry; the site's domain if not given. */
  serverName: siteDomainSchema.optional(),
});

const xmppSchema = z
  .strictObject({
    /** Where the server takes components (XEP-0114, plain TCP): loopback, the near end of a tunnel, or with `tls` anywhere. */
    host: z.string().min(1).max(253).default("127.0.0.1"),
    /** 5347, with `tls` 5348, if not given. */
    port: z.int().min(1).max(65_535).optional(),
    /** File with the secret of `cloud.<site>`. */
    secretFile: path,
    /** File with the secret of `cm-<name>.<site>`, this manager's own component. */
    managerSecretFile: path.optional(),
    tls: linkTlsSchema.optional(),
  })
  .transform(({ port, ...xmpp }) => ({ ...xmpp, port: port ?? (xmpp.tls === undefined ? 5347 : 5348) }));

/** `level`: embedded; managers on one machine share the folder, one leads. */
const levelStoreSchema = z.strictObject({
  kind: z.literal("level"),
  /** Folder of the store. */
  path,
});

const etcdEndpoint = z
  .string()
  .max(300)
  .regex(/^https?:\/\/[^/?#@\s]+$/, "must be a member's address: https://host:2379");

/** `etcd`: three members of the admin's own; managers on several machines, one leads. */
const etcdStoreSchema = z
  .strictObject({
    kind: z.literal("etcd"),
    /** Client addresses of the members; another one is asked when one does not answer. */
    endpoints: z.array(etcdEndpoint).min(1).max(9),
    /** Below which all keys of the site lie; `muster/<site>/` if not given. */
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9._/-]{1,200}$/, "must be 1 to 200 of A-Z a-z 0-9 . _ / -")
      .optional(),
    /** Certificates (PEM) that sign the members'; without it the system's. */
    caFile: path.optional(),
    /** This manager's own certificate and key, for members that ask for one. With users: a subject without CN. */
    certFile: path.optional(),
    keyFile: path.optional(),
    /** Files with name and password of etcd's user, with rights to read and write below the prefix. */
    userFile: path.optional(),
    passwordFile: path.optional(),
    /** After a backup was put back: the highest term that any host has obeyed. To be taken out again after the start. */
    termFloor: z.int().min(1).optional(),
  })
  .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
    path: ["keyFile"],
    message: "belongs to certFile: name both or none",
  })
  .refine(({ userFile, passwordFile }) => (userFile === undefined) === (passwordFile === undefined), {
    path: ["passwordFile"],
    message: "belongs to userFile: name both or none",
  })
  .refine(
    ({ endpoints, caFile, certFile }) =>
      (caFile === undefined && certFile === undefined) || endpoints.every((endpoint) => endpoint.startsWith("https:")),
    { path: ["endpoints"], message: "must all begin with https: where certificates are named" },
  )
  .refine(
    ({ endpoints, userFile }) =>
      userFile === undefined || endpoints.every((endpoint) => endpoint.startsWith("https:") || isLoopback(endpoint)),
    { path: ["endpoints"], message: "must begin with https: where a password is sent to another machine" },
  );

/** Without `kind` it is `level`. */
const storeSchema = z.preprocess(
  (store) => (typeof store === "object" && store !== null && !("kind" in store) ? { kind: "level", ...store } : store),
  z.discriminatedUnion("kind", [levelStoreSchema, etcdStoreSchema], { error: 'must be of kind "level" or "etcd"' }),
);

export type EtcdStoreConfig = z.output<typeof etcdStoreSchema>;

function isLoopback(endpoint: string): boolean {
  return /^http:\/\/(127\.|localhost[:]|localhost$|\[::1\])/.test(endpoint);
}

const apiSchema = z.strictObject({
  host: z.string().min(1).max(253).default("127.0.0.1"),
  port: port.default(7420),
  /** File with the bearer tokens: `tokens: [{name, sha256, user, role, projects}]`. */
  tokensFile: path,
  /** Address under which others reach it, where it is not host and port: a standby sends clients there. */
  url: z.url({ protocol: /^https?$/ }).optional(),
  /** Address under which hosts reach it to fetch images, where it is another one than clients use. */
  advertise: z.url({ protocol: /^https?$/ }).optional(),
});

/** How managers of one site watch each other. */
const leadershipSchema = z.strictObject({
  /** Between two beats that a standby sends the leader. */
  beatMs: durationMs(10, 10_000).default(100),
  /** Beats missed in a row before the leader is suspected. */
  misses: z.int().min(2).max(100).default(4),
  /** Without a sign of life for so long, a leader on the same machine is ended. */
  hangMs: durationMs(100, 600_000).default(1_000),
  /** A leader whose link is away for so long, while the standby's is there, is ended. */
  absentMs: durationMs(1_000, 3_600_000).default(10_000),
});

const timingSchema = z.strictObject({
  /** Heartbeats missed before a host is suspect: nothing is placed there. */
  suspectAfterMissed: z.int().min(1).max(100).default(3),
  /** Heartbeats missed before a host is lost: its VMs are in doubt. */
  lostAfterMissed: z.int().min(2).max(1_000).default(8),
  /** How long after a start or a lost link silence proves nothing. */
  settleMs: durationMs(0, 600_000).default(5_000),
  /** How long a host has for the answer to a command. */
  commandTimeoutMs: durationMs(100, 120_000).default(5_000),
  /** How long after its end a lease's VM may still exist. */
  leaseGraceMs: durationMs(0, DAY_MS).default(10_000),
  /** How long a peer has to run a VM that it leased to us, before it counts as a broken promise. */
  leaseStartMs: durationMs(1_000, DAY_MS).default(600_000),
  /** How long what is over is remembered, longer than any retry. */
  rememberMs: durationMs(1_000, 365 * DAY_MS).default(DAY_MS),
});

const ledgerSchema = z.strictObject({
  /** A receipt at least so often for a lent VM that goes on running; one at its end in any case. */
  receiptEveryMs: durationMs(1_000, 31 * DAY_MS).default(3_600_000),
  /** By how much a lender may be above our own measure of a lease before its receipt is disputed. */
  toleranceMs: durationMs(0, DAY_MS).default(60_000),
});

const enrolmentSchema = z.strictObject({
  /** Where new hosts reach the XMPP server: `xmpps://<host>:<port>`; port 5223 of the site's domain if not given. */
  service: xmppServiceSchema.optional(),
  /** Certificates (PEM) that sign the server's, for hosts whose system does not know them. */
  caFile: path.optional(),
  /** How long a token waits for its host when the request does not say. */
  ttlSeconds: z.int().min(1).max(ENROLMENT_SECONDS_MAX).default(3_600),
});

const imageStoreSchema = z.strictObject({
  /** Folder of their content, on a disk of its own where there are many; shared by all managers of the site. */
  folder: path,
  /** Most GiB of all of them together. */
  capacityGiB: z.number().positive().max(1_000_000).default(100),
  /** `admin`: what users add waits until an admin approves it; `none`: it is there at once. */
  approval: z.enum(["admin", "none"]).default("admin"),
});

const lendSchema = z.strictObject({
  /** Whether requests of this peer are taken at all. */
  accept: z.boolean().default(false),
  /** Share of the site that this peer may hold and lease at once, 0 to 1. */
  share: share.default(0.25),
  /** Longest lease granted at a time. */
  leaseMsMax: durationMs(1_000, 7 * DAY_MS).default(3_600_000),
  /** Most VMs of this peer at once. */
  vmsMax: z.int().min(0).max(100_000).default(100),
  /** Images it may use; none named means all of the site. */
  images: z.array(imageReferenceSchema).max(1_000).default([]),
  ...lenderRulesShape,
});

const peerSchema = z.strictObject({
  domain: siteDomainSchema,
  /** Its Ed25519 public key, JWK `x` (base64url), as its admin handed it over. */
  publicKey: z.string().regex(/^[A-Za-z0-9_-]{43}$/, "must be an Ed25519 public key: 43 characters of base64url"),
  lend: lendSchema.prefault({}),
  /** Whether our requests may burst there. */
  borrow: z.boolean().default(true),
  state: z.enum(["active", "suspended"]).default("active"),
  /** From server to server if not given. */
  reach: reachConfigSchema.optional(),
});

const watcherSchema = z.strictObject({
  /** Bare address of an XMPP account: `ann@alpha.example`. */
  jid: z.string().regex(/^[^\s/@"&'<>]+@[a-z0-9.-]+$/, "must be a bare address: ann@alpha.example"),
  role: z.enum(["admin", "user", "viewer"]),
  /** Projects it may see and act in; `"*"` for all. */
  projects: z
    .array(z.union([z.literal("*"), projectNameSchema]))
    .max(200)
    .default(["*"]),
});

/** The configuration of a cluster manager: every key there is. Relative paths start at the file's folder. */
export const configSchema = z
  .strictObject({
    /** The site's XMPP domain. */
    site: siteDomainSchema,
    /** Name of this manager within the site. */
    name: hostNameSchema.default("a"),
    xmpp: xmppSchema,
    store: storeSchema,
    api: apiSchema,
    /** Hosts that are let in from the start; more by `muster host enrol`. */
    hosts: z.array(hostNameSchema).max(10_000).default([]),
    /** How lost hosts are switched off, by host: see `muster host fence --agent`. */
    fencing: fencingSchema,
    /** What `muster host enrol` tells new hosts. */
    enrolment: enrolmentSchema.prefault({}),
    /** Images that VMs may use, by tag. */
    images: z
      .array(
        z.strictObject({
          tag: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "must be an image tag"),
          digest: z
            .string()
            .regex(/^sha256:[0-9a-f]{64}$/, "must be sha256:<64 hex digits>")
            .optional(),
        }),
      )
      .max(1_000)
      .default([]),
    /** Images that users and admins add; without it the site has those of `images` only. */
    imageStore: imageStoreSchema.optional(),
    /** VXLAN identifiers for networks that name none. */
    vnis: z
      .strictObject({ first: z.int().min(1).max(16_777_215), last: z.int().min(1).max(16_777_215) })
      .refine(({ first, last }) => first <= last, { path: ["last"], message: "must not be below first" })
      .default({ first: 10_000, last: 19_999 }),
    /** How often a vCPU and a MiB may be promised. */
    /**
     * Moves running VMs to other hosts when the site has become uneven, a few at a time. Off unless it is set. A move must
     * gain enough that the next look does not undo it.
     */
    balance: z
      .strictObject({
        everyMs: z
          .int()
          .min(10_000)
          .max(24 * 3_600_000)
          .default(600_000),
        movesMax: z.int().min(1).max(BALANCE_MOVES_MAX).default(2),
      })
      .optional(),
    overcommit: z
      .strictObject({ vcpus: z.number().min(1).max(64).default(1), memory: z.number().min(1).max(4).default(1) })
      .prefault({}),
    /** Most VMs waiting at once. */
    queueMax: z.int().min(1).max(1_000_000).default(10_000),
    /** Most VMs at once that are not over. */
    vmsMax: z.int().min(1).max(1_000_000).default(50_000),
    /** What a project may have at once; a project that is not named has no limit. */
    quotas: z
      .record(projectNameSchema, z.strictObject({ resources: resourcesSchema, vms: z.int().min(0).max(1_000_000) }))
      .default({}),
    /** What a project may spend at peers, in thousandths of the unit in which they state their prices. */
    budgets: z
      .record(
        projectNameSchema,
        z.strictObject({
          limit: z.int().min(0).max(1_000_000_000_000),
          periodDays: z.int().min(1).max(366).default(30),
        }),
      )
      .default({}),
    /** What becomes of a project's VMs at a peer that wants its room back, where their users say nothing; else `extend`. */
    onNotice: z.record(projectNameSchema, onNoticeSchema).default({}),
    /** Weights of the scheduler's scores by name, and with `peer-` before it those by which peers are ranked; those left out keep their own. */
    weights: z.record(z.string().max(64), z.number().min(-100).max(100)).default({}),
    timing: timingSchema.prefault({}),
    /** Receipts for what is lent and borrowed. */
    ledger: ledgerSchema.prefault({}),
    leadership: leadershipSchema.prefault({}),
    /**
     * Private keys of the site, Ed25519 as PEM (PKCS #8), the oldest first, the same file for every manager: one of them signs
     * what peers hear. Needed for peers, by configuration or invitation; `muster peer rotate-key` goes on to the next.
     */
    siteKeyFile: path.optional(),
    peers: z.array(peerSchema).max(1_000).default([]),
    /** XMPP accounts that may watch and speak to the site. */
    watchers: z.array(watcherSchema).max(10_000).default([]),
    logLevel: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("info"),
  })
  .refine((config) => config.peers.length === 0 || config.siteKeyFile !== undefined, {
    path: ["siteKeyFile"],
    message: "is needed to sign what peers hear; make a key with: openssl genpkey -algorithm ed25519",
  })
  .refine((config) => config.timing.suspectAfterMissed < config.timing.lostAfterMissed, {
    path: ["timing", "lostAfterMissed"],
    message: "must be above suspectAfterMissed",
  })
  .refine(({ peers }) => accountsDiffer(peers), {
    path: ["peers"],
    message: "must not name one account for two peers",
  })
  .refine((config) => config.peers.every(({ domain }) => domain !== config.site), {
    path: ["peers"],
    message: "must not name the site itself",
  });

export type Config = z.output<typeof configSchema>;

/** The configuration with all paths absolute, as seen from the folder of its file. */
export function anchorPaths(config: Config, file: string): Config {
  const at = (name: string): string => (isAbsolute(name) ? name : resolve(dirname(file), name));
  const { managerSecretFile, tls } = config.xmpp;
  const { caFile } = config.enrolment;
  return {
    ...config,
    xmpp: {
      ...config.xmpp,
      secretFile: at(config.xmpp.secretFile),
      managerSecretFile: managerSecretFile === undefined ? undefined : at(managerSecretFile),
      tls: tls === undefined ? undefined : { ...tls, ca: at(tls.ca), cert: at(tls.cert), key: at(tls.key) },
    },
    store: anchorStore(config.store, at),
    api: { ...config.api, tokensFile: at(config.api.tokensFile) },
    enrolment: { ...config.enrolment, caFile: caFile === undefined ? undefined : at(caFile) },
    ...(config.imageStore === undefined
      ? {}
      : { imageStore: { ...config.imageStore, folder: at(config.imageStore.folder) } }),
    fencing: anchorFencing(config.fencing, at),
    siteKeyFile: config.siteKeyFile === undefined ? undefined : at(config.siteKeyFile),
    peers: config.peers.map((peer) => ({ ...peer, reach: anchorReach(peer.reach, at) })),
  };
}

function anchorStore(store: Config["store"], at: (name: string) => string): Config["store"] {
  if (store.kind === "level") return { ...store, path: at(store.path) };
  const atIfAny = (name: string | undefined): string | undefined => (name === undefined ? undefined : at(name));
  return {
    ...store,
    caFile: atIfAny(store.caFile),
    certFile: atIfAny(store.certFile),
    keyFile: atIfAny(store.keyFile),
    userFile: atIfAny(store.userFile),
    passwordFile: atIfAny(store.passwordFile),
  };
}

/** What the core needs of the configuration, under the term this manager leads. */
export function policyOf(config: Config, term: number, agent: string): SitePolicy {
  const { imageStore, vnis } = config;
  const { site, name, images, overcommit, balance, queueMax, vmsMax, quotas, budgets, weights, timing, peers } = config;
  const { onNotice } = config;
  return {
    domain: site,
    manager: name,
    term,
    agent,
    images,
    ...(imageStore === undefined ? {} : { imageApproval: imageStore.approval }),
    vnis,
    overcommit,
    ...(balance === undefined ? {} : { balance }),
    queueMax,
    vmsMax,
    quotas,
    budgets,
    onNotice,
    weights,
    timing,
    peerings: peers.map((peer) => ({ ...peer, reach: reachOf(peer.reach) })),
  };
}
