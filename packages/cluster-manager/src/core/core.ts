/**
 * The core of the cluster manager as its shell, the simulator and the tests see it: synchronous, no I/O, time and chance
 * passed in. The shell drains events, steps, commits all changes in one transaction guarded by the term, then carries the
 * effects out (L2, L3). When a commit fails the working set is thrown away and read again from the store.
 */
import type { Peering, PinnedPeer, SimulatedSite } from "@muster/broker";
import type {
  Explanation,
  HostView,
  ImageView,
  LeaseView,
  LedgerBalanceView,
  NetworkView,
  OnNotice,
  PeerView,
  PolicyExplanation,
  QueueEntry,
  Resources,
  SiteKeyView,
  SitePresence,
  SiteView,
  StoreView,
  VmCreate,
  VmSpec,
  VmView,
} from "@muster/protocol";
import type { ImageRecord } from "../images/image-record.ts";
import type { PeerBook } from "../peering/peer-book.ts";
import type { ConfiguredPeering } from "../peering/reach.ts";
import type { CoreStep } from "./effect.ts";
import type { Actor, CoreEvent } from "./event.ts";

export type CoreEnv = {
  /** Site time in milliseconds: the wall clock at the start of the process, moved on by the monotonic clock. */
  readonly nowMs: number;
  /** A fresh UUIDv7. */
  newId(): string;
};

/** Everything about a site that its admin sets, checked and frozen at start. */
export type SitePolicy = {
  readonly domain: string;
  readonly manager: string;
  readonly term: number;
  readonly agent: string;
  readonly images: readonly { readonly tag: string; readonly digest?: string | undefined }[];
  /** Whether an admin approves images that users add; `admin` where it is not said. */
  readonly imageApproval?: "admin" | "none";
  /** VXLAN identifiers that networks get which name none. */
  readonly vnis?: { readonly first: number; readonly last: number };
  readonly overcommit: { readonly vcpus: number; readonly memory: number };
  /** Most VMs waiting at once (S2). */
  readonly queueMax: number;
  /** Most VMs that are not final, in all phases (S2). */
  readonly vmsMax: number;
  readonly quotas: Readonly<Record<string, { readonly resources: Resources; readonly vms: number }>>;
  readonly peerings: readonly ConfiguredPeering[];
  /** Most that a project may spend at peers in a period, in thousandths; a project that is not named has no limit. */
  readonly budgets?: Readonly<Record<string, { readonly limit: number; readonly periodDays: number }>>;
  /** What becomes of a project's VMs at a peer that gives notice; `extend` where it is not named. */
  readonly onNotice?: Readonly<Record<string, OnNotice>>;
  /** Balancing without being asked; absent: never. */
  readonly balance?: { readonly everyMs: number; readonly movesMax: number } | undefined;
  /** Weights of the scheduler's scores, by name. */
  readonly weights: Readonly<Record<string, number>>;
  readonly timing: {
    /** Heartbeats missed before a host is suspect, and before it is lost. */
    readonly suspectAfterMissed: number;
    readonly lostAfterMissed: number;
    /** How long after a start or a lost link silence proves nothing. */
    readonly settleMs: number;
    readonly commandTimeoutMs: number;
    readonly leaseGraceMs: number;
    readonly rememberMs: number;
  };
};

export type Core = {
  readonly policy: SitePolicy;
  /** Takes the stored records, `[key, value]` already decoded, before the first step. */
  load(records: Iterable<readonly [string, unknown]>): void;
  /** The same record by record, for a shell that has many and sees to other things in between. Nothing counts before the end. */
  loading(): { take(key: string, value: unknown): void; end(): void };
  step(event: CoreEvent, env: CoreEnv): CoreStep;
  /** When `tick` is due next at the latest, in site time. */
  nextDueMs(nowMs: number): number;
  readonly views: CoreViews;
};

/** Read-only views for API, presence and chat. Lists are sorted by id or name and paged by the caller. */
export type CoreViews = {
  site(nowMs: number): SiteView;
  hosts(nowMs: number): readonly HostView[];
  host(name: string, nowMs: number): HostView | undefined;
  /** Whether this host may speak: let in, or to be let in again after a restore. */
  admits(host: string): boolean;
  /** What an admin has to know of the store: a restore under way, hosts that know a higher term, what is left to decide. */
  store(): StoreView;
  vms(): readonly VmView[];
  /** By id, or by name where it is unique among those that are not final. */
  vm(idOrName: string): VmView | "ambiguous" | undefined;
  request(id: string): { readonly vms: readonly VmView[] } | undefined;
  queue(nowMs: number): readonly QueueEntry[];
  leases(nowMs: number): readonly LeaseView[];
  peers(nowMs: number): readonly PeerView[];
  /** What our presence shows the peer; `undefined` where it shows nothing. */
  shownTo(domain: string, nowMs: number): SitePresence | undefined;
  /** What we lent each peer and borrowed from it, by domain. */
  ledgerBalances(): readonly LedgerBalanceView[];
  /** The peering in force with the domain. */
  peering(domain: string, nowMs: number): Peering | undefined;
  /** By which keys the domain and we speak about the peering, also one that was left. */
  pinnedPeer(domain: string, nowMs: number): PinnedPeer | undefined;
  /** Whether the domain was invited under this id. */
  hasInvited(domain: string, invitation: string): boolean;
  /** Exact domains that the XMPP server is to let in. */
  peerDoor(): readonly string[];
  /** How peers are reached, and whose accounts are whose. */
  reaches(): Pick<PeerBook, "reachOf" | "ownerOf" | "logins" | "accounts">;
  /** Our key as peers are to pin it. */
  ownKey(): { readonly publicKey: string; readonly sequence: number } | undefined;
  /** The key that signs; `undefined` where the site has none that lasts. */
  siteKey(): SiteKeyView | undefined;
  why(vm: string, nowMs: number): Explanation | undefined;
  /** One exchange that we lend by, whatever its stage. */
  lent(peer: string, id: string, nowMs: number): LeaseView | undefined;
  /** What each rule of our policy says to such a request of the peer now; `undefined` for a stranger. */
  explainPolicy(
    peer: string,
    wish: { readonly spec: VmSpec; readonly leaseMs: number },
    nowMs: number,
  ): PolicyExplanation | undefined;
  /** What a simulation of our policy for the peer begins with; `undefined` for a stranger. */
  policyBasis(peer: string, nowMs: number): Omit<SimulatedSite, "requests"> | undefined;
  /** By digest; only those that the actor may know of. */
  images(actor: Actor): readonly ImageView[];
  /** By digest or tag. */
  image(actor: Actor, reference: string): ImageView | undefined;
  /** The stored record, for those who carry its content. */
  imageRecord(digest: string): ImageRecord | undefined;
  /** Bytes of all images that are there. */
  imageBytes(): number;
  networks(nowMs: number): readonly NetworkView[];
  network(name: string, nowMs: number): NetworkView | undefined;
  /** What would happen to such a request now: nothing is changed. */
  dryRun(actor: Actor, create: VmCreate, nowMs: number): Explanation;
};
