import { assertNever, type Clock, err, ok, type Result, type Rng, uuidv7 } from "@muster/base";
import { partnerAccount, type Refusal, refusal, type SiteView, type StepDownView } from "@muster/protocol";
import type { Bus } from "@muster/xmpp";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { createApi } from "./api/api-server.ts";
import { ANSWER_WITHIN_MS, type Backend } from "./api/backend.ts";
import type { BearerTokens } from "./api/bearer-tokens.ts";
import { EventRing } from "./api/event-ring.ts";
import { Metrics } from "./api/metrics.ts";
import type { Core, CoreViews } from "./core/core.ts";
import type { CoreEffect } from "./core/effect.ts";
import type { Actor } from "./core/event.ts";
import type { Fencing } from "./fencing/fence-config.ts";
import { Fencer } from "./fencing/fencer.ts";
import { ImageKeeper } from "./images/image-keeper.ts";
import type { ImageTickets } from "./images/image-ticket.ts";
import { LeaderLoop, SHELL_PREFIX } from "./leadership/leader-loop.ts";
import { NotServingError } from "./leadership/not-serving.ts";
import type { SiteKeys } from "./peering/site-key-file.ts";
import { readAll } from "./store/read-all.ts";
import type { Store } from "./store/store.ts";
import { defaultTerms, type EnrolmentTerms, enrolmentBy } from "./xmpp-face/enrolment.ts";
import type { MakeLogin } from "./xmpp-face/peer-bus.ts";
import type { PeerSeal } from "./xmpp-face/peer-seal.ts";
import type { Watchers } from "./xmpp-face/watchers.ts";
import { XmppFace } from "./xmpp-face/xmpp-face.ts";

export type ClusterManagerOptions = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  /** Opened: its term is the term of this leadership. */
  readonly store: Store;
  readonly makeCore: () => Core;
  /** Bound as `cloud.<domain>`; not started. */
  readonly bus: Bus;
  readonly domain: string;
  readonly manager: string;
  readonly version: string;
  /** Hosts let in by configuration. */
  readonly hosts: readonly string[];
  readonly seal: PeerSeal;
  /** What `seal` signs with. */
  readonly siteKeys: Pick<SiteKeys, "keys" | "reload">;
  readonly watchers: Watchers;
  readonly tokens: BearerTokens;
  readonly commandTimeoutMs: number;
  /** What new hosts are told; see `defaultTerms` for those left out. */
  readonly enrolment?: EnrolmentTerms;
  /** Logs in at a peer that is reached through a client account. */
  readonly makeLogin?: MakeLogin;
  /** What keeps the records, for those who ask about the site. */
  readonly storeKind?: "level" | "etcd";
  /** Content of images, where this site keeps any. */
  readonly images?: {
    readonly folder: string;
    readonly bytesMax: number;
    readonly tickets: ImageTickets;
  };
  /** How lost hosts are switched off, by host. */
  readonly fencing?: Fencing;
  /** The other managers of the site; without them this one is alone. */
  readonly colleagues?: Colleagues;
  /** Callers that may wait for the core at once (S2). */
  readonly callersMax?: number;
  /** This manager leads no more: end the process (deposed), or start it again (crashed, refused by the server). */
  readonly onEnd: (end: ManagerEnd) => void;
};

export type ManagerEnd =
  | { readonly kind: "deposed"; readonly term: number }
  | { readonly kind: "crashed"; readonly error: unknown }
  | { readonly kind: "link-refused"; readonly reason: string; readonly text: string };

/** What a leader knows of those who wait for the lead. */
export type Colleagues = {
  readonly standbys: () => readonly string[];
  readonly onStandbys: (listener: () => void) => void;
  /** Begins a planned hand-over, or says why there can be none. */
  readonly stepDown: () => Result<StepDownView, Refusal>;
};

/** A leader at work: loop, XMPP face and HTTP API over one core. */
export type ClusterManager = {
  readonly loop: LeaderLoop;
  readonly api: FastifyInstance;
  /** Reads the store, starts the loop and the link; the API listens when its owner says so. */
  start(): Promise<void>;
  /** Leads no more, and says so to nobody: another manager speaks for the site next. Nothing is stored after it. */
  standDown(): Promise<void>;
  /** Says goodbye, then closes API, link and loop. The store is its owner's to close. */
  stop(): Promise<void>;
};

const CALLERS_MAX = 4_096;
/** Asked of the core at start, for hosts of the configuration. */
const CONFIG_ACTOR: Actor = { user: "config", role: "admin", projects: ["*"] };
const HOST_ADD_WITHIN_MS = 60_000;

export async function createClusterManager(options: ClusterManagerOptions): Promise<ClusterManager> {
  const { bus, clock, log, store, colleagues = ALONE } = options;
  const events = new EventRing(store.term);
  const watches = await readAll(store, SHELL_PREFIX);
  const loop: LeaderLoop = new LeaderLoop({
    clock,
    rng: options.rng,
    store,
    makeCore: () => withSurroundings(options.makeCore(), colleagues, options.storeKind),
    queueMax: options.callersMax ?? CALLERS_MAX,
    carry: (effect, views, nowMs) => carry(effect, views, nowMs),
    firstEvents: () => [{ kind: "link", online: bus.status.kind === "online" }],
    onDeposed: (term) => options.onEnd({ kind: "deposed", term }),
    onStoreTrouble: (message) => {
      metrics.storeFailed();
      log.error({ reason: message }, "the store does not take or give records");
    },
    onCrash: (error) => options.onEnd({ kind: "crashed", error }),
    onCommit: (commit) => metrics.committed(commit),
  });
  const metrics = metricsOf(loop, bus, () => api.events.followers);
  const terms = options.enrolment ?? defaultTerms(options.domain);
  const newId = (): string => uuidv7(clock, options.rng);
  const images = imagesOf(options, loop);
  const face = faceOf(options, loop, metrics, { watches, newId });
  const fencer = fencerOf(options, loop);
  const backend: Backend = {
    loop,
    fence: (host) => fencer.fenceSoon(host),
    term: store.term,
    site: options.domain,
    manager: options.manager,
    ...evidenceOf(options),
    events,
    images,
    newId,
    stepDown: colleagues.stepDown,
    reloadKeys: () => options.siteKeys.reload(),
    notReady: () => notReady(loop, bus),
    console: (host, order) => face.console(host, order),
    readLog: (host, query) => face.readLog(host, query),
    ...tokensOf(face, options.domain, terms),
  };
  const api = createApi({ clock, backend, tokens: options.tokens, metrics, log, version: options.version });
  const carry = carrier(events, images, face);
  return {
    loop,
    api: api.server,
    async start() {
      face.start();
      await images?.keeper.start();
      followLink(options, loop);
      // While the link comes up the store is read; whoever speaks too early is asked again by hello (L4).
      bus.start();
      await loop.start();
      await face.online();
      colleagues.onStandbys(() => face.carry({ kind: "contact-changed", contact: { kind: "site" } }));
      await letHostsIn(options, loop);
      fencer.start();
    },
    async standDown() {
      fencer.stop();
      await images?.keeper.stop();
      await loop.stop();
      await face.stop("silent");
      // The address is given up before the successor binds it: answers to its first words must not come to us.
      await bus.stop();
    },
    async stop() {
      fencer.stop();
      await face.stop(loop.state === "over" ? "silent" : "goodbye");
      await images?.keeper.stop();
      await api.server.close();
      await loop.stop();
      await bus.stop();
    },
  };
}

/** Tokens of the XMPP server for accounts that are to be made: of hosts, and of peers that come as one. */
function tokensOf(face: XmppFace, site: string, terms: EnrolmentTerms): Pick<Backend, "partnerReach" | "enrolmentOf"> {
  return {
    async partnerReach(domain, ttlSeconds) {
      const jid = partnerAccount(domain, site);
      const token = await face.partnerToken(jid, ttlSeconds);
      const ca = terms.caPem === undefined ? {} : { ca: terms.caPem };
      return token.ok ? ok({ jid, service: terms.service, token: token.value, ...ca }) : token;
    },
    async enrolmentOf(host, ttlSeconds) {
      const token = await face.enrolmentOf(host, ttlSeconds ?? terms.ttlSeconds);
      return token.ok ? ok(enrolmentBy(token.value, site, terms)) : token;
    },
  };
}

type Carried = Exclude<CoreEffect, { readonly kind: "answer" }>;

/** Hands what leaves the core to whom it concerns. */
function carrier(events: EventRing, images: Backend["images"], face: XmppFace) {
  return (effect: Carried, views: CoreViews, nowMs: number): void => {
    if (effect.kind === "event")
      events.push(effect.event, new Date(nowMs).toISOString(), projectOf(effect.event, views));
    else if (effect.kind === "fetch-image") images?.keeper.fetch(effect.digest);
    else if (effect.kind === "drop-image") images?.keeper.drop(effect.digest);
    else face.carry(effect);
  };
}

/** What is read without the core: records as they are stored, and the keys that they were signed with. */
function evidenceOf({ store, siteKeys }: ClusterManagerOptions): Pick<Backend, "snapshot" | "scan" | "ownKeys"> {
  return {
    snapshot: () => store.snapshot(),
    scan: (prefix) => store.scan(prefix),
    ownKeys: () => siteKeys.keys().map(({ publicKey }) => publicKey),
  };
}

const ALONE: Colleagues = {
  standbys: () => [],
  onStandbys: () => {},
  stepDown: () => err(NO_STANDBY),
};

/** Why nobody can take the lead over. */
export const NO_STANDBY = refusal(
  "conflict",
  "no-standby",
  "no other manager of this site stands by; start a second one over the same store",
);

/** The core knows its own manager; who stands by, and over which store, is known outside of it. */
function withSurroundings(core: Core, { standbys }: Colleagues, store: SiteView["store"]): Core {
  const site = (nowMs: number): SiteView => {
    const { domain, leader, term, managers, ...rest } = core.views.site(nowMs);
    const all = [...managers, ...standbys().map((name) => ({ name, role: "standby" as const }))];
    return { domain, leader, term, managers: all, ...(store !== undefined && { store }), ...rest };
  };
  return { ...core, views: { ...core.views, site } };
}

function fencerOf({ clock, log, fencing = {} }: ClusterManagerOptions, loop: LeaderLoop): Fencer {
  return new Fencer({
    clock,
    log,
    fencing,
    hosts: () => loop.views.hosts(loop.nowMs()),
    nowMs: () => loop.nowMs(),
    ask: (event) => loop.ask(event, ANSWER_WITHIN_MS, (answer) => answer),
  });
}

function imagesOf(options: ClusterManagerOptions, loop: LeaderLoop): Backend["images"] {
  if (options.images === undefined) return undefined;
  const { clock, rng, log } = options;
  const { folder, bytesMax, tickets } = options.images;
  return { keeper: new ImageKeeper({ clock, rng, log, folder, bytesMax, loop }), tickets };
}

function faceOf(
  options: ClusterManagerOptions,
  loop: LeaderLoop,
  metrics: Metrics,
  parts: { readonly watches: Iterable<readonly [string, unknown]>; readonly newId: () => string },
): XmppFace {
  const { bus, clock, domain, log, commandTimeoutMs } = options;
  return new XmppFace({
    context: {
      bus,
      loop,
      clock,
      log,
      domain,
      commandTimeoutMs,
      count: (from, verdict) => metrics.stanza(from, verdict),
    },
    rng: options.rng,
    term: options.store.term,
    manager: options.manager,
    version: options.version,
    watchers: options.watchers,
    peers: { seal: options.seal },
    makeLogin: options.makeLogin,
    ...parts,
  });
}

function metricsOf(loop: LeaderLoop, bus: Bus, followers: () => number): Metrics {
  return new Metrics({
    site: () => loop.read((views, nowMs) => views.site(nowMs)).catch(noneWhileAway),
    queuedEvents: () => loop.queued,
    waitingCallers: () => loop.waiting,
    followers,
    linkOnline: () => bus.status.kind === "online",
  });
}

/** The core hears when the link comes and goes: nobody is declared dead for our own silence. */
function followLink({ bus, log, onEnd }: ClusterManagerOptions, loop: LeaderLoop): void {
  let online = false;
  bus.onStatus((status) => {
    const now = status.kind === "online";
    if (now !== online) loop.post({ kind: "link", online: now });
    online = now;
    switch (status.kind) {
      case "online":
        log.info({ address: status.address }, "the XMPP link is up");
        return;
      case "offline":
        log.warn({ reason: status.reason }, "the XMPP link is down");
        return;
      case "refused":
        onEnd({ kind: "link-refused", reason: status.reason, text: status.text });
        return;
      case "connecting":
      case "stopped":
        return;
      default:
        assertNever(status);
    }
  });
}

async function letHostsIn({ hosts, log }: ClusterManagerOptions, loop: LeaderLoop): Promise<void> {
  for (const host of hosts) {
    if (loop.views.host(host, loop.nowMs()) !== undefined) continue;
    const answer = await loop.ask(
      (ticket) => ({ kind: "host-add", ticket, actor: CONFIG_ACTOR, host, configured: true }),
      HOST_ADD_WITHIN_MS,
      (given) => given,
    );
    if (answer.kind === "refused") log.warn({ host, refusal: answer.refusal }, "a configured host was not let in");
  }
}

async function notReady(loop: LeaderLoop, bus: Bus): Promise<readonly string[]> {
  const reasons: string[] = [];
  if (loop.state !== "running")
    reasons.push(`the store is ${loop.state === "recovering" ? "not usable" : "not read yet"}`);
  const { status } = bus;
  if (status.kind !== "online")
    reasons.push(`the XMPP link is ${status.kind}${status.kind === "offline" ? `: ${status.reason}` : ""}`);
  const site = await loop.read((views, nowMs) => views.site(nowMs)).catch(noneWhileAway);
  if (site?.reconciled === false) reasons.push("hosts are still being heard after the start");
  return reasons;
}

function noneWhileAway(error: unknown): undefined {
  if (error instanceof NotServingError) return undefined;
  throw error;
}

/** The project whose members may see an event; events about no VM are for everybody. */
function projectOf(event: { readonly kind: string; readonly subject: string }, views: CoreViews): string | undefined {
  if (event.kind !== "vm" && event.kind !== "queue") return undefined;
  const vm = views.vm(event.subject);
  return vm === undefined || vm === "ambiguous" ? undefined : vm.project;
}
