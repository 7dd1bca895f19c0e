import { type Clock, systemClock } from "@muster/base";
import type { Config } from "../config.ts";
import { EtcdClient } from "./etcd/etcd-client.ts";
import type { EtcdFault } from "./etcd/etcd-fault.ts";
import type { MemberStatus, RangeAnswer } from "./etcd/messages.ts";
import { readEtcdAccess } from "./etcd-access.ts";
import { QUORUM_REMEDY, SPACE_REMEDY } from "./etcd-guarded-txn.ts";
import {
  type EtcdLayout,
  layoutOf,
  leadSchema,
  type Meta,
  metaSchema,
  metaVersionSchema,
  readStored,
} from "./etcd-layout.ts";
import type { EtcdStoreOptions } from "./etcd-open.ts";
import { isUnsound, UNSOUND } from "./etcd-version.ts";
import { STORE_SCHEMA } from "./store-fault.ts";

/** One thing that was looked at, and what to do where it is not well. */
export type StoreCheck = {
  readonly name: string;
  readonly verdict: "ok" | "warn" | "fail";
  readonly message: string;
  readonly remedy: string;
};

export type EtcdHealthOptions = Pick<EtcdStoreOptions, "endpoints" | "tls" | "auth" | "site" | "prefix"> & {
  readonly clock: Clock;
};

/** Whoever asks the doctor wants to know what is down now. */
const ASK_MS = 2_000;
/** With fewer, the loss of one member stops the store. */
const MEMBERS_MIN = 3;
/** More history than this is kept only by an etcd that does not compact it. */
const HISTORY_REVISIONS_MAX = 1_000_000;
const MIB = 1024 * 1024;

type Asked = { readonly endpoint: string } & (
  | { readonly kind: "answered"; readonly status: MemberStatus }
  | { readonly kind: "silent"; readonly fault: EtcdFault }
);

/** Looks at an etcd that is a site's store, and changes nothing: members, quorum, version, space, history, whose prefix it is. */
export async function checkEtcd(options: EtcdHealthOptions): Promise<readonly StoreCheck[]> {
  const members = await Promise.all(options.endpoints.map((endpoint) => askMember(options, endpoint)));
  const client = clientOf(options, options.endpoints);
  const layout = layoutOf(options.prefix ?? `muster/${options.site}/`);
  const meta = `${layout.prefix}meta/`;
  const read = await client.range({ from: meta, prefix: meta, limit: 10 });
  const checks = [...members.map(memberCheck), ...(await clusterChecks(members))];
  if (read.ok) checks.push(well("etcd quorum", "most members agree on what is stored"));
  else checks.push(quorumCheck(read.error));
  if (read.ok)
    checks.push(await historyCheck(client, layout, read.value), prefixCheck(options.site, layout, read.value));
  client.close();
  return checks;
}

/** The same for the store that a manager's configuration names; nothing to say of another kind of store. */
export async function checkConfiguredEtcd({ site, store }: Config): Promise<readonly StoreCheck[]> {
  if (store.kind !== "etcd") return [];
  const access = readEtcdAccess(store);
  if (!access.ok) return [ill("etcd access", access.error, "check the files that store names, and who may read them")];
  const { endpoints, prefix } = store;
  return checkEtcd({ clock: systemClock, site, endpoints, prefix, ...access.value });
}

function clientOf({ clock, tls, auth }: EtcdHealthOptions, endpoints: readonly string[]): EtcdClient {
  return new EtcdClient({ clock, endpoints, tls, auth, requestMs: ASK_MS, readMs: ASK_MS });
}

async function askMember(options: EtcdHealthOptions, endpoint: string): Promise<Asked> {
  const client = clientOf(options, [endpoint]);
  const status = await client.status();
  client.close();
  return status.ok
    ? { endpoint, kind: "answered", status: status.value }
    : { endpoint, kind: "silent", fault: status.error };
}

function memberCheck(asked: Asked): StoreCheck {
  const name = `etcd ${asked.endpoint}`;
  if (asked.kind === "silent")
    return asked.fault.kind === "unsent" || asked.fault.kind === "unclear"
      ? ill(name, asked.fault.message, "is etcd running there, and do certificates of both sides verify? see its log")
      : ill(name, asked.fault.message, "check store.caFile, certFile, keyFile, userFile and passwordFile");
  const { version, sizeBytes, hasLeader } = asked.status;
  const found = `etcd ${version}, ${Math.ceil(sizeBytes / MIB)} MiB`;
  return hasLeader ? well(name, found) : ill(name, `${found}, knows of no leader`, QUORUM_REMEDY);
}

function clusterChecks(members: readonly Asked[]): readonly StoreCheck[] {
  const statuses = members.flatMap((asked) => (asked.kind === "answered" ? [asked.status] : []));
  const checks: StoreCheck[] = [];
  if (members.length < MEMBERS_MIN)
    checks.push(
      worry(
        "etcd members",
        `${members.length} named`,
        `name all members in store.endpoints; with fewer than ${MEMBERS_MIN} the loss of one stops the site`,
      ),
    );
  const versions = [...new Set(statuses.map(({ version }) => version))];
  const old = versions.filter(isUnsound);
  if (old.length > 0)
    checks.push(worry("etcd version", `etcd ${old.join(", ")} ${UNSOUND}`, "update etcd, a member at a time"));
  const alarms = [...new Set(statuses.flatMap(({ errors }) => errors))];
  if (alarms.some((alarm) => alarm.includes("NOSPACE"))) checks.push(ill("etcd space", "alarm NOSPACE", SPACE_REMEDY));
  for (const alarm of alarms.filter((text) => !text.includes("NOSPACE")))
    checks.push(ill("etcd alarm", alarm, "see the members' logs"));
  return checks;
}

function quorumCheck({ kind, message }: EtcdFault): StoreCheck {
  return kind === "unsent" || kind === "unclear"
    ? ill("etcd quorum", message, QUORUM_REMEDY)
    : ill("etcd access", message, "check user, password, certificate and the user's rights below the prefix");
}

async function historyCheck(client: EtcdClient, layout: EtcdLayout, { header }: RangeAnswer): Promise<StoreCheck> {
  const name = "etcd history";
  const revision = header.revision - HISTORY_REVISIONS_MAX;
  const old = revision < 1 ? undefined : await client.range({ from: layout.meta, revision });
  return old?.ok === true
    ? worry(
        name,
        `more than ${HISTORY_REVISIONS_MAX} revisions are kept`,
        "start etcd with --auto-compaction-mode=periodic --auto-compaction-retention=1h, and defragment it once",
      )
    : well(name, `revision ${header.revision}, old ones are compacted or few`);
}

function prefixCheck(site: string, layout: EtcdLayout, { header, kvs }: RangeAnswer): StoreCheck {
  const name = `etcd ${layout.prefix}`;
  const at = (key: string): string | undefined => kvs.find((stored) => stored.key === key)?.value;
  const text = at(layout.meta);
  if (text === undefined) return worry(name, "no manager has led over it yet", "start a cluster manager of the site");
  const meta = readStored(metaSchema, text);
  if (meta === undefined) return unreadable(name, text);
  if (meta.site !== site)
    return ill(name, `holds the records of ${meta.site}, not of ${site}`, "give this site a store.prefix of its own");
  if (wentBack(meta, header))
    return ill(
      name,
      `was put back from a backup: term ${meta.term}, written in another life of etcd`,
      `stop all managers of the site, then: muster restore --in-place --above ${meta.term} --config FILE, or a higher number where its hosts obeyed one`,
    );
  const lead = readStored(leadSchema, at(layout.lead) ?? "");
  if (lead?.term !== meta.term)
    return worry(
      name,
      `term ${meta.term} was ${meta.manager}'s, and nobody leads now`,
      "start a cluster manager of the site",
    );
  return well(name, `${meta.manager} leads ${site} under term ${meta.term}`);
}

function wentBack({ clusterId, raftTerm }: Meta, header: RangeAnswer["header"]): boolean {
  return clusterId !== header.clusterId || raftTerm > header.raftTerm;
}

function unreadable(name: string, text: string): StoreCheck {
  const version = readStored(metaVersionSchema, text);
  return version !== undefined && version.schema > STORE_SCHEMA
    ? ill(
        name,
        `written with store schema ${version.schema}, this version knows ${STORE_SCHEMA}`,
        "run the newer version",
      )
    : ill(name, "its head cannot be read", "restore the store from a backup");
}

function well(name: string, message: string): StoreCheck {
  return { name, verdict: "ok", message, remedy: "" };
}

function worry(name: string, message: string, remedy: string): StoreCheck {
  return { name, verdict: "warn", message, remedy };
}

function ill(name: string, message: string, remedy: string): StoreCheck {
  return { name, verdict: "fail", message, remedy };
}
