import { type Clock, err, ok, type Result, type Rng, uuidv7 } from "@muster/base";
import { EtcdClient, type EtcdClientOptions } from "./etcd/etcd-client.ts";
import type { EtcdFault } from "./etcd/etcd-fault.ts";
import type { EtcdHeader, EtcdOperation, KeyValue } from "./etcd/messages.ts";
import type { EtcdFollower } from "./etcd-follower.ts";
import { groupsOf } from "./etcd-groups.ts";
import { type Found, QUORUM_REMEDY, SPACE_REMEDY, sendGuarded } from "./etcd-guarded-txn.ts";
import {
  commitSchema,
  type EtcdLayout,
  layoutOf,
  leadSchema,
  type Meta,
  metaSchema,
  metaVersionSchema,
  readStored,
  stageKey,
  stagePieceSchema,
  type Write,
} from "./etcd-layout.ts";
import { EtcdLead } from "./etcd-lead.ts";
import { EtcdStore, type Staged } from "./etcd-store.ts";
import { isUnsound, UNSOUND } from "./etcd-version.ts";
import type { Store } from "./store.ts";
import { newerSchema, STORE_SCHEMA, type StoreFault } from "./store-fault.ts";

export type EtcdStoreOptions = Pick<EtcdClientOptions, "endpoints" | "tls" | "auth" | "requestMs" | "readMs"> & {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Domain of the site; a prefix that holds another one's records is refused. */
  readonly site: string;
  /** Name of the manager that opens it. */
  readonly manager: string;
  /** Below which all keys lie; `muster/<site>/` if not given. */
  readonly prefix?: string | undefined;
  /** Base address of this manager's HTTP API, for others to send their callers to. */
  readonly url?: string | undefined;
  /** Deposes the leader of exactly this term, for whoever has found it dead or hung. Without it a live one is waited for. */
  readonly deposing?: number | undefined;
  /** Highest term this manager or its hosts have seen: a store below it was put back from a backup. */
  readonly knownTerm?: number | undefined;
  /** An admin's word that a store put back from a backup is to be used: no term up to this one is given again. */
  readonly termFloor?: number | undefined;
  /** A copy kept by watching: the first scans come from it. */
  readonly warm?: EtcdFollower | undefined;
  /** How long a leader that fell silent is still taken for alive by managers without other means to tell. */
  readonly leaseSeconds?: number;
  /** Longest time to find out what became of a commit. */
  readonly commitMs?: number;
  /** What the admin should know: an old etcd, a restored one. */
  readonly onWarning?: (message: string) => void;
  /** Another manager took the lead while this one had nothing to write. */
  readonly onDeposed?: ((term: number) => void) | undefined;
};

const LEASE_SECONDS = 3;
const COMMIT_MS = 5_000;

type Stored = {
  readonly header: EtcdHeader;
  readonly found: Found;
  readonly meta: Meta | undefined;
};

/**
 * Port Store on etcd, for managers on several machines: raises the term by compare-and-set (L1) and finishes what the
 * leader before has left half carried out. `locked`: another manager leads; `unavailable`: etcd cannot decide now.
 */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<Result<Store, StoreFault>> {
  const client = clientOf(options);
  const opened = await open(options, client);
  if (!opened.ok) client.close();
  return opened;
}

/** What differs from one try for the lead to the next. */
export type EtcdTry = Pick<EtcdStoreOptions, "url" | "deposing" | "knownTerm" | "warm">;

/** The same for a standby that tries again and again: connections and token are kept from one try to the next. */
export function etcdStoreOpener(options: EtcdStoreOptions): (now?: EtcdTry) => Promise<Result<Store, StoreFault>> {
  let idle: EtcdClient | undefined;
  return async (now) => {
    const client = idle ?? clientOf(options);
    idle = undefined;
    const opened = await open({ ...options, ...now }, client);
    if (!opened.ok) idle = client;
    return opened;
  };
}

function clientOf({ clock, endpoints, tls, auth, requestMs, readMs }: EtcdStoreOptions): EtcdClient {
  return new EtcdClient({ clock, endpoints, tls, auth, requestMs, readMs });
}

async function open(options: EtcdStoreOptions, client: EtcdClient): Promise<Result<Store, StoreFault>> {
  const { clock, manager, leaseSeconds = LEASE_SECONDS, commitMs = COMMIT_MS, warm } = options;
  const layout = layoutOf(options.prefix ?? `muster/${options.site}/`);
  const stored = await readStart(client, layout);
  if (!stored.ok) return err(faultOf(layout, stored.error));
  const term = await nextTerm(options, client, layout, stored.value);
  if (!term.ok) return term;
  const lease = await client.grantLease(leaseSeconds);
  if (!lease.ok) return err(faultOf(layout, lease.error));
  const opening = uuidv7(clock, options.rng);
  const raised = await raiseTerm(options, { client, layout, lease: lease.value }, stored.value, {
    schema: STORE_SCHEMA,
    site: options.site,
    term: term.value,
    manager,
    opening,
    clusterId: stored.value.header.clusterId,
    raftTerm: stored.value.header.raftTerm,
  });
  if (!raised.ok) {
    await client.revokeLease(lease.value);
    return raised;
  }
  const lead = new EtcdLead({
    client,
    clock,
    layout,
    lease: lease.value,
    leaseSeconds,
    value: leadValue(options, term.value),
    metaRevision: raised.value,
    onDeposed: options.onDeposed,
  });
  const left = await leftBehind(client, layout);
  if (!left.ok) {
    await lead.giveUp();
    return left;
  }
  // Nobody waits for it: whoever takes over has more urgent things to ask etcd.
  void warnOfVersion(options, client);
  return ok(
    new EtcdStore({
      client,
      clock,
      layout,
      term: term.value,
      opening,
      metaRevision: raised.value,
      ...left.value,
      lead,
      commitMs,
      warm,
    }),
  );
}

async function readStart(client: EtcdClient, layout: EtcdLayout): Promise<Result<Stored, EtcdFault>> {
  const answer = await client.range({ from: `${layout.prefix}meta/`, prefix: `${layout.prefix}meta/`, limit: 10 });
  if (!answer.ok) return answer;
  const { header, kvs } = answer.value;
  const at = (key: string): KeyValue | undefined => kvs.find((stored) => stored.key === key);
  const found = { meta: at(layout.meta), commit: at(layout.commit), lead: at(layout.lead) };
  return ok({ header, found, meta: found.meta && readStored(metaSchema, found.meta.value) });
}

/** The term this opening would lead under, or why it must not. */
async function nextTerm(
  options: EtcdStoreOptions,
  client: EtcdClient,
  layout: EtcdLayout,
  stored: Stored,
): Promise<Result<number, StoreFault>> {
  const { site, termFloor = 0, knownTerm = 0, deposing } = options;
  const { found, header, meta } = stored;
  const place = `etcd ${layout.prefix}`;
  if (found.meta === undefined) {
    const inside = await client.range({ from: layout.prefix, prefix: layout.prefix, limit: 1 });
    if (!inside.ok) return err(faultOf(layout, inside.error));
    const [stray] = inside.value.kvs;
    if (stray !== undefined) return err(strayKey(layout, stray.key));
    return knownTerm > termFloor ? err(wentBack(place, 0, knownTerm, "it is empty")) : ok(termFloor + 1);
  }
  if (meta === undefined) return err(unreadableMeta(layout, place, found.meta.value));
  if (meta.site !== site)
    return err({
      kind: "foreign",
      message: `${place} holds the records of ${meta.site}, not of ${site}; give this site a store.prefix of its own`,
    });
  const signs = [
    ...(meta.term < knownTerm ? [`term ${knownTerm} was given before`] : []),
    ...(meta.clusterId === header.clusterId ? [] : ["it was written in another etcd cluster"]),
    ...(meta.raftTerm > header.raftTerm ? ["etcd's own elections began anew"] : []),
  ];
  const seen = Math.max(meta.term, knownTerm);
  if (signs.length > 0) {
    if (termFloor < seen) return err(wentBack(place, meta.term, seen, signs.join(", ")));
    options.onWarning?.(
      `${place} was put back from a backup (${signs.join(", ")}) and is used as store.termFloor says; take that out again`,
    );
  }
  if (found.lead !== undefined && deposing !== meta.term) {
    const lead = readStored(leadSchema, found.lead.value);
    return err(ledBy(place, lead ?? meta));
  }
  return ok(Math.max(seen, termFloor) + 1);
}

/** The next term, stored before anybody hears of it; answers its revision (L1). */
async function raiseTerm(
  options: EtcdStoreOptions,
  parts: { readonly client: EtcdClient; readonly layout: EtcdLayout; readonly lease: string },
  { found }: Stored,
  meta: Meta,
): Promise<Result<number, StoreFault>> {
  const { client, layout, lease } = parts;
  const { clock, commitMs = COMMIT_MS } = options;
  const success: EtcdOperation[] = [
    { kind: "put", key: layout.meta, value: JSON.stringify(meta) },
    { kind: "put", key: layout.lead, value: leadValue(options, meta.term), lease },
  ];
  if (found.commit === undefined)
    success.push({ kind: "put", key: layout.commit, value: JSON.stringify({ opening: meta.opening, number: 0 }) });
  const compare = [{ key: layout.meta, modRevision: found.meta?.modRevision ?? 0 }];
  const sent = await sendGuarded({ client, clock, layout }, { compare, success }, clock.nowMs() + commitMs);
  const place = `etcd ${layout.prefix}`;
  switch (sent.kind) {
    case "written":
      return ok(sent.header.revision);
    case "stopped": {
      const now = sent.found.meta && readStored(metaSchema, sent.found.meta.value);
      if (now?.opening === meta.opening && sent.found.meta !== undefined) return ok(sent.found.meta.modRevision);
      return err(ledBy(place, now ?? { manager: "another manager", term: meta.term }));
    }
    case "failed":
    case "unknown":
      return err({ kind: "unavailable", message: `${place} took no new term: ${sent.message}` });
    case "no-space":
      return err({ kind: "unusable", message: `${place} took no new term: ${sent.message}` });
  }
}

/** Read after the term was raised, when the leader before can change nothing any more. */
async function leftBehind(
  client: EtcdClient,
  layout: EtcdLayout,
): Promise<Result<{ readonly commitRevision: number; readonly staged: Staged | undefined }, StoreFault>> {
  const read = await client.range({ from: layout.commit });
  if (!read.ok) return err(faultOf(layout, read.error));
  const [stored] = read.value.kvs;
  const mark = stored && readStored(commitSchema, stored.value);
  const damaged = (key: string): Result<never, StoreFault> =>
    err({ kind: "damaged", message: `etcd ${key} cannot be read; restore the store from a backup` });
  if (stored === undefined || mark === undefined) return damaged(layout.commit);
  const commitRevision = stored.modRevision;
  if (mark.staged === undefined) return ok({ commitRevision, staged: undefined });
  const writes: Write[] = [];
  for (let index = 0; index < mark.staged; index += 1) {
    const key = stageKey(layout, mark, index);
    const piece = await client.range({ from: key });
    if (!piece.ok) return err(faultOf(layout, piece.error));
    const read = piece.value.kvs[0] && readStored(stagePieceSchema, piece.value.kvs[0].value);
    if (read === undefined) return damaged(key);
    for (const write of read) writes.push(write);
  }
  const groups = groupsOf(writes);
  return groups.ok ? ok({ commitRevision, staged: { mark, groups: groups.value } }) : damaged(layout.stages);
}

async function warnOfVersion({ onWarning }: EtcdStoreOptions, client: EtcdClient): Promise<void> {
  if (onWarning === undefined) return;
  const version = await client.version();
  if (version.ok && isUnsound(version.value)) onWarning(`etcd ${version.value} ${UNSOUND}; update it`);
}

function leadValue({ manager, url }: EtcdStoreOptions, term: number): string {
  return JSON.stringify({ manager, term, url });
}

function ledBy(place: string, { manager, term, url }: NonNullable<StoreFault["leader"]>): StoreFault {
  const message = `${place} is led by manager ${manager} under term ${term}; wait or stop it`;
  return { kind: "locked", message, leader: { manager, term, ...(url !== undefined && { url }) } };
}

function wentBack(place: string, term: number, seen: number, signs: string): StoreFault {
  return {
    kind: "went-back",
    message:
      `${place} was put back from a backup: it stands at term ${term}, and ${signs}. Stop all managers of the site, ` +
      `then: muster restore --in-place --above ${seen} --config FILE, or a higher number where its hosts obeyed one`,
  };
}

function strayKey(layout: EtcdLayout, key: string): StoreFault {
  return key.startsWith(layout.records) || key.startsWith(layout.stages) || key === layout.commit
    ? {
        kind: "damaged",
        message: `etcd ${layout.meta} is gone while records are there; restore the store from a backup`,
      }
    : {
        kind: "foreign",
        message: `etcd ${layout.prefix} is used by something else (${key}); give this site a store.prefix of its own`,
      };
}

function unreadableMeta(layout: EtcdLayout, place: string, text: string): StoreFault {
  const version = readStored(metaVersionSchema, text);
  if (version !== undefined && version.schema > STORE_SCHEMA) return newerSchema(place, version.schema);
  return { kind: "damaged", message: `etcd ${layout.meta} cannot be read; restore the store from a backup` };
}

function faultOf(layout: EtcdLayout, { kind, message }: EtcdFault): StoreFault {
  const place = `etcd ${layout.prefix}`;
  if (kind === "unsent" || kind === "unclear")
    return {
      kind: "unavailable",
      message: `${place} cannot be reached, or has no quorum: ${message}; ${QUORUM_REMEDY}`,
    };
  const remedy = kind === "denied" ? "check user, password, certificate and the user's rights below the prefix" : "";
  const space = kind === "no-space" ? SPACE_REMEDY : remedy;
  return { kind: "unusable", message: `${place} cannot be used: ${message}${space === "" ? "" : `; ${space}`}` };
}
