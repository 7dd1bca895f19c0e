import { decode, describeFaults, err, ok, type Result, uuidv7 } from "@muster/base";
import {
  type AcceptanceView,
  acceptanceViewSchema,
  type BalanceView,
  balanceViewSchema,
  type ConsoleRequest,
  type ConsoleState,
  consoleStateSchema,
  type DrainPolicy,
  type Enrolment,
  type EventView,
  type Explanation,
  enrolmentSchema,
  explanationSchema,
  type HostView,
  hostViewSchema,
  type ImageAction,
  type ImageAddInput,
  type ImageView,
  type InvitationView,
  imageViewSchema,
  invitationViewSchema,
  type LeaseView,
  type LedgerBalanceView,
  type LedgerEntryView,
  type LedgerVerification,
  leaseViewSchema,
  ledgerBalanceSchema,
  ledgerEntrySchema,
  ledgerVerificationSchema,
  type NetworkCreateInput,
  type NetworkView,
  networkViewSchema,
  PAGE_MAX,
  type PeerAcceptInput,
  type PeerInviteInput,
  type PeerPolicyChange,
  type PeerVerb,
  type PeerView,
  type PolicyExplanation,
  type PolicyQuestionInput,
  pageOf,
  peerViewSchema,
  policyExplanationSchema,
  type QueueEntry,
  queueEntrySchema,
  type RecordedRequest,
  type Refusal,
  type RequestView,
  refusal,
  requestViewSchema,
  type SerialLogPart,
  type SimulationView,
  type SiteKeyView,
  type SiteView,
  type SnapshotView,
  type StepDownView,
  type StoreView,
  serialLogPartSchema,
  simulationViewSchema,
  siteKeyViewSchema,
  siteViewSchema,
  snapshotViewSchema,
  stepDownViewSchema,
  storeViewSchema,
  type VmAction,
  type VmCreateInput,
  type VmOperation,
  type VmView,
  type VolumeView,
  vmViewSchema,
  volumeViewSchema,
} from "@muster/protocol";
import { z } from "zod";
import { readBackupStream } from "./backup-stream.ts";
import { type ApiRequest, type ConnectionOptions, callApi } from "./connection.ts";
import { sendContent } from "./content.ts";
import { type EventsFrom, followEvents } from "./events.ts";

type Answer<Value> = Promise<Result<Value, Refusal>>;

/** Everything the command line, the console and tests ask of a site, typed and checked. */
/** Where a VM is to be moved to, alive. */
export type MoveWish = {
  readonly host?: string | undefined;
  /** To this peer; not together with the others. */
  readonly peer?: string | undefined;
  /** From the peer at which it runs. */
  readonly home?: boolean | undefined;
};

export type SiteClient = {
  site(): Answer<SiteView>;
  /** Lends nothing new from now on, until then if that is said; `undefined`: it is over. */
  setMaintenance(wish: { readonly reason: string; readonly until?: string } | undefined): Answer<SiteView>;
  /** Hands the lead over to a manager that stands by. */
  stepDown(): Answer<StepDownView>;
  hosts(): Answer<HostView[]>;
  host(name: string): Answer<HostView>;
  enrolHost(name: string): Answer<Enrolment>;
  /** Empties a host as the policy says, or takes it back. */
  drainHost(name: string, draining: boolean, policy?: DrainPolicy): Answer<HostView>;
  /** Moves a running VM alive: to another host, the best one where none is named; to a peer; or home from one. */
  migrateVm(idOrName: string, where?: MoveWish): Answer<VmView>;
  cancelMigration(idOrName: string): Answer<VmView>;
  balance(options: { readonly dryRun: boolean; readonly movesMax: number }): Answer<BalanceView>;
  /** `agent`: the host's fence agent is to switch it off and confirm that; without it the caller vouches. */
  fenceHost(name: string, options?: { readonly agent?: boolean }): Answer<HostView>;
  removeHost(name: string): Answer<void>;
  vms(filter?: Readonly<Record<string, string>>): Answer<VmView[]>;
  vm(idOrName: string): Answer<VmView>;
  why(idOrName: string): Answer<Explanation>;
  createVms(create: VmCreateInput, requestId: string): Answer<RequestView>;
  dryRun(create: VmCreateInput): Answer<Explanation>;
  /** `force`, with `stop`: the guest is not asked, but cut off. */
  actOnVm(idOrName: string, action: VmAction, options?: { readonly force?: boolean }): Answer<VmView>;
  /** The same `operationId` with the same operation is the same operation. */
  operateVm(idOrName: string, operation: VmOperation, operationId: string): Answer<VmView>;
  snapshots(idOrName: string): Answer<SnapshotView[]>;
  volumes(idOrName: string): Answer<VolumeView[]>;
  deleteVm(idOrName: string): Answer<VmView>;
  /** One order of a session at the VM's console; the same again is the same. */
  vmConsole(idOrName: string, request: ConsoleRequest): Answer<ConsoleState>;
  /** A part of the VM's serial log from `offset` on, or its end. */
  vmLog(idOrName: string, offset: number | undefined): Answer<SerialLogPart>;
  request(id: string): Answer<RequestView>;
  images(): Answer<ImageView[]>;
  image(image: string): Answer<ImageView>;
  addImage(add: ImageAddInput): Answer<ImageView>;
  /** Sends the content of an image that was added: read from the start again where another manager has to be asked. */
  sendImage(digest: string, content: Blob): Answer<ImageView>;
  actOnImage(image: string, action: ImageAction): Answer<ImageView>;
  tagImage(image: string, tag: string): Answer<ImageView>;
  removeImage(image: string): Answer<void>;
  networks(): Answer<NetworkView[]>;
  network(name: string): Answer<NetworkView>;
  createNetwork(create: NetworkCreateInput): Answer<NetworkView>;
  deleteNetwork(name: string): Answer<void>;
  queue(): Answer<QueueEntry[]>;
  leases(): Answer<LeaseView[]>;
  /** Decides on a peer's request that waits for an admin. `peer` where the id alone is ambiguous. */
  decideLease(
    id: string,
    approve: boolean,
    more?: { readonly reason?: string; readonly peer?: string },
  ): Answer<LeaseView>;
  /** Ends a lease that we lend. */
  revokeLease(
    id: string,
    wish: { readonly reason: string; readonly noticeMs: number },
    peer?: string,
  ): Answer<LeaseView>;
  /** What each rule of our policy says to such a request of the peer. */
  explainPolicy(domain: string, question: PolicyQuestionInput): Answer<PolicyExplanation>;
  /** What our policy would have granted of recorded requests. */
  simulatePolicy(domain: string, requests: readonly RecordedRequest[]): Answer<SimulationView>;
  peers(): Answer<PeerView[]>;
  peer(domain: string): Answer<PeerView>;
  /** A token for the other site's admin; it is shown once. */
  invitePeer(invite: PeerInviteInput): Answer<InvitationView>;
  /** Accepts a token, or with `dryRun` only says what would be agreed to. */
  acceptPeer(accept: PeerAcceptInput, dryRun: boolean): Answer<AcceptanceView>;
  changePeer(domain: string, verb: PeerVerb, reason?: string): Answer<PeerView>;
  setPeerPolicy(domain: string, change: PeerPolicyChange): Answer<PeerView>;
  siteKey(): Answer<SiteKeyView>;
  /** Lets the next key of the site's key file sign; it gets this number, so that the same again is the same. */
  rotateKey(sequence: number, overlapMs?: number): Answer<SiteKeyView>;
  /** Receipts with verdicts and signatures; filter by `peer`, `side`, `state`. */
  ledger(filter?: Readonly<Record<string, string>>): Answer<LedgerEntryView[]>;
  ledgerBalances(): Answer<LedgerBalanceView[]>;
  /** Has the site check all its receipts again. */
  verifyLedger(): Answer<LedgerVerification>;
  /** What an admin has to know of the store. */
  store(): Answer<StoreView>;
  /** All records of the site as of one moment, piece by piece; see `readBackupStream`. */
  backup(): Promise<Result<AsyncGenerator<Uint8Array>, Refusal>>;
  events(signal: AbortSignal, from?: EventsFrom, onRefused?: (why: Refusal) => void): AsyncGenerator<EventView>;
};

const snapshotsSchema = z.object({ items: z.array(snapshotViewSchema) });
const volumesSchema = z.object({ items: z.array(volumeViewSchema) });

function itemsOf<Item>(answer: Result<{ readonly items: Item[] }, Refusal>): Result<Item[], Refusal> {
  return answer.ok ? ok(answer.value.items) : answer;
}

export function createSiteClient(options: ConnectionOptions): SiteClient {
  const ask = <Schema extends z.ZodType>(request: ApiRequest, schema: Schema) => askOne(options, request, schema);
  const get = <Schema extends z.ZodType>(path: string, schema: Schema) => ask({ method: "GET", path }, schema);
  const list = <Schema extends z.ZodType>(path: string, schema: Schema, filter = {}) =>
    askAll(options, path, schema, filter);
  const post = <Schema extends z.ZodType>(path: string, schema: Schema, body?: unknown, idempotencyKey?: string) =>
    ask({ method: "POST", path, body, ...(idempotencyKey !== undefined ? { idempotencyKey } : {}) }, schema);
  return {
    site: () => get("/v1/site", siteViewSchema),
    setMaintenance: (wish) =>
      wish === undefined
        ? askOne(options, { method: "DELETE", path: "/v1/site/maintenance" }, siteViewSchema)
        : askOne(options, { method: "POST", path: "/v1/site/maintenance", body: wish }, siteViewSchema),
    stepDown: () => post("/v1/site/step-down", stepDownViewSchema),
    hosts: () => list("/v1/hosts", hostViewSchema),
    host: (name) => get(`/v1/hosts/${encodeURIComponent(name)}`, hostViewSchema),
    enrolHost: (name) => post("/v1/hosts", enrolmentSchema, { name }),
    drainHost: (name, draining, policy = "migrate") =>
      post(`/v1/hosts/${encodeURIComponent(name)}/${draining ? `drain?policy=${policy}` : "undrain"}`, hostViewSchema),
    migrateVm: (id, { host, peer, home } = {}) => {
      const wish = new URLSearchParams({
        ...(host === undefined ? {} : { host }),
        ...(peer === undefined ? {} : { peer }),
        ...(home === true ? { home: "true" } : {}),
      }).toString();
      return post(`/v1/vms/${encodeURIComponent(id)}/migrate${wish === "" ? "" : `?${wish}`}`, vmViewSchema);
    },
    cancelMigration: (id) => ask({ method: "DELETE", path: `/v1/vms/${encodeURIComponent(id)}/migrate` }, vmViewSchema),
    balance: ({ dryRun, movesMax }) =>
      post(`/v1/site/balance?dryRun=${dryRun}&movesMax=${movesMax}`, balanceViewSchema),
    fenceHost: (name, { agent = false } = {}) =>
      post(`/v1/hosts/${encodeURIComponent(name)}/fence${agent ? "?agent=true" : ""}`, hostViewSchema),
    removeHost: (name) => ask({ method: "DELETE", path: `/v1/hosts/${encodeURIComponent(name)}` }, nothing),
    vms: (filter) => list("/v1/vms", vmViewSchema, filter),
    vm: (id) => get(`/v1/vms/${encodeURIComponent(id)}`, vmViewSchema),
    why: (id) => get(`/v1/vms/${encodeURIComponent(id)}/why`, explanationSchema),
    createVms: (create, requestId) => post("/v1/vms", requestViewSchema, create, requestId),
    dryRun: (create) => post("/v1/vms?dryRun=true", explanationSchema, create),
    actOnVm: (id, action, { force = false } = {}) =>
      post(`/v1/vms/${encodeURIComponent(id)}/${action}${force ? "?force=true" : ""}`, vmViewSchema),
    operateVm: (id, operation, operationId) =>
      post(`/v1/vms/${encodeURIComponent(id)}/operations`, vmViewSchema, operation, operationId),
    snapshots: async (id) => itemsOf(await get(`/v1/vms/${encodeURIComponent(id)}/snapshots`, snapshotsSchema)),
    volumes: async (id) => itemsOf(await get(`/v1/vms/${encodeURIComponent(id)}/volumes`, volumesSchema)),
    deleteVm: (id) => ask({ method: "DELETE", path: `/v1/vms/${encodeURIComponent(id)}` }, vmViewSchema),
    vmConsole: (id, request) => post(`/v1/vms/${encodeURIComponent(id)}/console`, consoleStateSchema, request),
    vmLog: (id, offset) =>
      get(
        `/v1/vms/${encodeURIComponent(id)}/log${offset === undefined ? "" : `?offset=${offset}`}`,
        serialLogPartSchema,
      ),
    request: (id) => get(`/v1/requests/${encodeURIComponent(id)}`, requestViewSchema),
    ...imagesOf(options),
    ...networksOf(options),
    queue: () => list("/v1/queue", queueEntrySchema),
    leases: () => list("/v1/leases", leaseViewSchema),
    ...policyOf(options),
    ...peersOf(options),
    ledger: (filter) => list("/v1/ledger", ledgerEntrySchema, { limit: String(PAGE_MAX), ...filter }),
    ledgerBalances: () => list("/v1/ledger/balances", ledgerBalanceSchema),
    verifyLedger: () => get("/v1/ledger/verification", ledgerVerificationSchema),
    store: () => get("/v1/site/store", storeViewSchema),
    backup: () => readBackupStream(options),
    events: (signal, from, onRefused) => followEvents(options, signal, from, onRefused),
  };
}

type Images = "images" | "image" | "addImage" | "sendImage" | "actOnImage" | "tagImage" | "removeImage";

function imagesOf(options: ConnectionOptions): Pick<SiteClient, Images> {
  const at = (image: string): string => `/v1/images/${encodeURIComponent(image)}`;
  const ask = (request: ApiRequest) => askOne(options, request, imageViewSchema);
  return {
    images: () => askAll(options, "/v1/images", imageViewSchema, {}),
    image: (image) => ask({ method: "GET", path: at(image) }),
    addImage: (add) => ask({ method: "POST", path: "/v1/images", body: add }),
    async sendImage(digest, content) {
      const path = `${at(digest)}/content`;
      return decoded(await sendContent(options, path, at(digest), content), `PUT ${path}`, imageViewSchema);
    },
    actOnImage: (image, action) => ask({ method: "POST", path: `${at(image)}/${action}` }),
    tagImage: (image, tag) => ask({ method: "POST", path: `${at(image)}/tags`, body: { tag } }),
    removeImage: (image) => askOne(options, { method: "DELETE", path: at(image) }, nothing),
  };
}

type Peers = "peers" | "peer" | "invitePeer" | "acceptPeer" | "changePeer" | "setPeerPolicy" | "siteKey" | "rotateKey";

function peersOf(options: ConnectionOptions): Pick<SiteClient, Peers> {
  const at = (domain: string): string => `/v1/peers/${encodeURIComponent(domain)}`;
  const post = <Schema extends z.ZodType>(path: string, body: unknown, schema: Schema) =>
    askOne(options, { method: "POST", path, body }, schema);
  return {
    peers: () => askAll(options, "/v1/peers", peerViewSchema, {}),
    peer: (domain) => askOne(options, { method: "GET", path: at(domain) }, peerViewSchema),
    invitePeer(invite) {
      // Chosen here, so that a try that is made again after a lost answer makes no second invitation.
      const secret = Buffer.from(options.rng.bytes(32)).toString("base64url");
      const once = { invitation: uuidv7(options.clock, options.rng), secret };
      return post("/v1/peer-invitations", { once, ...invite }, invitationViewSchema);
    },
    acceptPeer: (accept, dryRun) =>
      post(`/v1/peer-acceptances${dryRun ? "?dryRun=true" : ""}`, accept, acceptanceViewSchema),
    changePeer: (domain, verb, reason) =>
      post(`${at(domain)}/${verb}`, reason === undefined ? {} : { reason }, peerViewSchema),
    setPeerPolicy: (domain, change) => post(`${at(domain)}/policy`, change, peerViewSchema),
    siteKey: () => askOne(options, { method: "GET", path: "/v1/site/key" }, siteKeyViewSchema),
    rotateKey: (sequence, overlapMs) =>
      post("/v1/site/rotate-key", { sequence, ...(overlapMs === undefined ? {} : { overlapMs }) }, siteKeyViewSchema),
  };
}

type Policies = "decideLease" | "revokeLease" | "explainPolicy" | "simulatePolicy";

function policyOf(options: ConnectionOptions): Pick<SiteClient, Policies> {
  const post = <Schema extends z.ZodType>(path: string, body: unknown, schema: Schema) =>
    askOne(options, { method: "POST", path, body }, schema);
  const lease = (id: string, verb: string, peer: string | undefined): string =>
    `/v1/leases/${encodeURIComponent(id)}/${verb}${peer === undefined ? "" : `?peer=${encodeURIComponent(peer)}`}`;
  const policy = (domain: string, verb: string): string => `/v1/peers/${encodeURIComponent(domain)}/policy/${verb}`;
  return {
    decideLease: (id, approve, { reason, peer } = {}) =>
      post(lease(id, approve ? "approve" : "deny", peer), reason === undefined ? {} : { reason }, leaseViewSchema),
    revokeLease: (id, wish, peer) => post(lease(id, "revoke", peer), wish, leaseViewSchema),
    explainPolicy: (domain, question) => post(policy(domain, "explain"), question, policyExplanationSchema),
    simulatePolicy: (domain, requests) => post(policy(domain, "simulate"), { requests }, simulationViewSchema),
  };
}

type Networks = "networks" | "network" | "createNetwork" | "deleteNetwork";

function networksOf(options: ConnectionOptions): Pick<SiteClient, Networks> {
  const at = (name: string): string => `/v1/networks/${encodeURIComponent(name)}`;
  return {
    networks: () => askAll(options, "/v1/networks", networkViewSchema, {}),
    network: (name) => askOne(options, { method: "GET", path: at(name) }, networkViewSchema),
    createNetwork: (create) =>
      askOne(options, { method: "POST", path: "/v1/networks", body: create }, networkViewSchema),
    deleteNetwork: (name) => askOne(options, { method: "DELETE", path: at(name) }, nothing),
  };
}

const nothing = z.unknown().transform((): void => undefined);

async function askOne<Schema extends z.ZodType>(
  options: ConnectionOptions,
  request: ApiRequest,
  schema: Schema,
): Answer<z.output<Schema>> {
  return decoded(await callApi(options, request), `${request.method} ${request.path}`, schema);
}

function decoded<Schema extends z.ZodType>(
  answer: Result<unknown, Refusal>,
  what: string,
  schema: Schema,
): Result<z.output<Schema>, Refusal> {
  if (!answer.ok) return answer;
  const value = decode(schema, answer.value);
  if (value.ok) return ok(value.value);
  return err(
    refusal(
      "internal",
      "unexpected-answer",
      `${what} answered what this client does not know: ${describeFaults(value.error)}`,
    ),
  );
}

/** Most pages that one list may have (S2). */
const PAGES_MAX = 1_000;

/** Reads a paged list to its end. */
async function askAll<Schema extends z.ZodType>(
  options: ConnectionOptions,
  path: string,
  schema: Schema,
  filter: Readonly<Record<string, string>>,
): Answer<z.output<Schema>[]> {
  const items: z.output<Schema>[] = [];
  let after: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const query = new URLSearchParams({ ...filter, ...(after !== undefined ? { after } : {}) }).toString();
    const answer = await askOne(
      options,
      { method: "GET", path: query === "" ? path : `${path}?${query}` },
      pageOf(schema),
    );
    if (!answer.ok) return answer;
    items.push(...answer.value.items);
    after = answer.value.next;
    if (after === undefined) return ok(items);
  }
  return err(refusal("internal", "list-too-long", `${path} has more than ${PAGES_MAX} pages`));
}
