import { type Clock, systemClock, systemRng } from "@muster/base";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { RecordChange } from "../core/records.ts";
import { EtcdClient } from "./etcd/etcd-client.ts";
import { EtcdCluster } from "./etcd-cluster.fixture.ts";
import type { StoredLead } from "./etcd-copy.ts";
import { type EtcdFollower, type EtcdFollowerOptions, followEtcdStore } from "./etcd-follower.ts";
import { layoutOf } from "./etcd-layout.ts";
import { type EtcdStoreOptions, openEtcdStore } from "./etcd-open.ts";
import { readAll } from "./read-all.ts";
import type { Store } from "./store.ts";

const SITE = "alpha.example";
const clock: Clock = systemClock;
const WITHIN_MS = 10_000;
let cluster: EtcdCluster;
let client: EtcdClient;
let prefixes = 0;

beforeAll(async () => {
  cluster = await EtcdCluster.start({ addresses: ["127.0.71.11", "127.0.71.12", "127.0.71.13"] });
  client = new EtcdClient({ clock, endpoints: cluster.endpoints });
}, 60_000);
afterAll(async () => {
  client?.close();
  await cluster?.stop();
});

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of closing.splice(0)) await part.close();
});

const opened = async (prefix: string, more: Partial<EtcdStoreOptions> = {}): Promise<Store> => {
  const base = { clock, rng: systemRng, endpoints: cluster.endpoints, site: SITE, manager: "a", prefix };
  const result = await openEtcdStore({ ...base, ...more });
  if (!result.ok) throw new Error(result.error.message);
  closing.push(result.value);
  return result.value;
};
const follow = (prefix: string, more: Partial<EtcdFollowerOptions> = {}): EtcdFollower => {
  const base = { clock, rng: systemRng, endpoints: cluster.endpoints, site: SITE, prefix, probeMs: 200 };
  const follower = followEtcdStore({ ...base, ...more });
  closing.push(follower);
  return follower;
};
const newPrefix = (): string => `follow/${++prefixes}/`;
const put = (key: string, value: unknown): RecordChange => ({ kind: "put", key, value });
const commit = async (store: Store, ...changes: RecordChange[]): Promise<void> =>
  expect(await store.commit(changes)).toEqual({ kind: "committed" });
/** What the copy holds once it is as new as etcd is now. */
const copyOf = async (follower: EtcdFollower, prefix: string): Promise<unknown> => {
  const meta = `${prefix}meta/`;
  const read = await client.range({ from: meta, prefix: meta });
  if (!read.ok) throw new Error(read.error.message);
  const revision = Math.max(...read.value.kvs.map(({ modRevision }) => modRevision));
  const records = await follower.recordsAt(revision, WITHIN_MS, "");
  return records?.map((record) => [record.key, record.kind === "value" ? record.value : record.text]);
};

describe("a follower of the etcd store", () => {
  it("holds what was there before it and what is committed since", async () => {
    const prefix = newPrefix();
    const store = await opened(prefix);
    await commit(store, put("vm/b", { n: 1 }), put("host/a", 1));
    const follower = follow(prefix);
    expect(await copyOf(follower, prefix)).toEqual([
      ["host/a", 1],
      ["vm/b", { n: 1 }],
    ]);
    await commit(store, put("vm/b", { n: 2 }), { kind: "delete", key: "host/a" }, put("vm/a", "ü\n"));
    expect(await copyOf(follower, prefix)).toEqual([
      ["vm/a", "ü\n"],
      ["vm/b", { n: 2 }],
    ]);
    expect((await follower.recordsAt(0, WITHIN_MS, "vm/b"))?.map(({ key }) => key)).toEqual(["vm/b"]);
  });

  it("L3: shows a staged commit whole or not at all", async () => {
    const prefix = newPrefix();
    const store = await opened(prefix);
    const follower = follow(prefix);
    const block = (value: number): RecordChange[] =>
      Array.from({ length: 400 }, (_, index) => put(`n/${index}`, value));
    await commit(store, ...block(0));
    const torn: unknown[] = [];
    let over = false;
    const looking = (async () => {
      while (!over) {
        const records = (await follower.recordsAt(1, WITHIN_MS, "n/")) ?? [];
        const values = new Set(records.map((record) => record.kind === "value" && record.value));
        if (values.size > 1 || (records.length !== 0 && records.length !== 400)) torn.push([...values]);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let value = 1; value <= 5; value += 1) await commit(store, ...block(value));
    expect(await copyOf(follower, prefix)).toHaveLength(400);
    over = true;
    await looking;
    expect(torn).toEqual([]);
    expect((await follower.recordsAt(1, 0, "n/7"))?.[0]).toMatchObject({ value: 5 });
  });

  it("lets its manager take over without reading the records again", async () => {
    const prefix = newPrefix();
    const first = await opened(prefix);
    await commit(first, ...Array.from({ length: 100 }, (_, index) => put(`n/${index}`, index)));
    const follower = follow(prefix);
    await copyOf(follower, prefix);
    await commit(first, put("last", true));
    // Listens in only: what is asked of etcd goes there.
    const asked = vi.spyOn(EtcdClient.prototype, "range");
    try {
      const second = await opened(prefix, { manager: "b", deposing: first.term, warm: follower });
      const records = await readAll(second, "");
      expect(records).toHaveLength(101);
      expect(records).toContainEqual(["last", true]);
      const { records: base } = layoutOf(prefix);
      expect(asked.mock.calls.filter(([query]) => query.from.startsWith(base))).toEqual([]);
      await commit(second, put("n/0", "new"));
      expect(await readAll(second, "n/0")).toEqual([["n/0", "new"]]);
    } finally {
      asked.mockRestore();
    }
  });

  it("tells who leads, and that the leader gave up or fell silent", async () => {
    const prefix = newPrefix();
    const leads: (StoredLead | undefined)[] = [];
    const follower = follow(prefix, { onLead: (lead) => leads.push(lead) });
    const first = await opened(prefix);
    await vi.waitFor(() => expect(follower.lead).toEqual({ manager: "a", term: 1, alive: true }));
    await first.close();
    await vi.waitFor(() => expect(follower.lead).toEqual({ manager: "a", term: 1, alive: false }));
    await opened(prefix, { manager: "b" });
    await vi.waitFor(() => expect(leads.at(-1)).toEqual({ manager: "b", term: 2, alive: true }));
    expect(leads).toHaveLength(4);
  });

  it("lists anew when the history it missed was compacted", { timeout: 60_000 }, async () => {
    const prefix = newPrefix();
    const store = await opened(prefix);
    await commit(store, put("a", 1), put("b", 1));
    // It follows one member only, which sleeps through the change and its compaction.
    const troubles: string[] = [];
    const member = ((await cluster.leader()) + 1) % 3;
    const endpoints = [cluster.endpoints[member] ?? ""];
    const follower = follow(prefix, { endpoints, onTrouble: (message) => troubles.push(message) });
    await copyOf(follower, prefix);
    await cluster.kill(member);
    await vi.waitFor(() => expect(troubles.length).toBeGreaterThan(0), WITHIN_MS);
    await commit(store, put("a", 2), { kind: "delete", key: "b" });
    const now = await client.range({ from: "x" });
    if (!now.ok) throw new Error(now.error.message);
    const revision = String(now.value.header.revision);
    const other = cluster.endpoints[(member + 1) % 3];
    const answer = await fetch(`${other}/v3/kv/compaction`, { method: "POST", body: JSON.stringify({ revision }) });
    expect(answer.status).toBe(200);
    await cluster.restart(member);
    expect(await copyOf(follower, prefix)).toEqual([["a", 2]]);
    await commit(store, put("c", 1));
    expect(await copyOf(follower, prefix)).toEqual([
      ["a", 2],
      ["c", 1],
    ]);
  });

  it("goes to another member when its own hangs with the watch open", { timeout: 60_000 }, async () => {
    const prefix = newPrefix();
    const store = await opened(prefix);
    await commit(store, put("a", 1));
    const leader = await cluster.leader();
    const member = (leader + 1) % 3;
    const endpoints = [member, leader].map((index) => cluster.endpoints[index] ?? "");
    const follower = follow(prefix, { endpoints, requestMs: 300 });
    await copyOf(follower, prefix);
    cluster.signal(member, "SIGSTOP");
    try {
      const other = await opened(prefix, { deposing: store.term, endpoints: [cluster.endpoints[leader] ?? ""] });
      await commit(other, put("a", 2));
      const read = await vi.waitFor(async () => {
        const [record] = (await follower.recordsAt(1, 0, "a")) ?? [];
        expect(record).toMatchObject({ value: 2 });
        return record;
      }, WITHIN_MS);
      expect(read?.key).toBe("a");
    } finally {
      cluster.signal(member, "SIGCONT");
    }
  });

  it("S2: keeps no copy above its bound, says so, and the store is read instead", async () => {
    const prefix = newPrefix();
    const store = await opened(prefix);
    await commit(store, put("a", 1));
    const troubles: string[] = [];
    const follower = follow(prefix, { bytesMax: 20_000, onTrouble: (message) => troubles.push(message) });
    await copyOf(follower, prefix);
    await commit(store, ...Array.from({ length: 100 }, (_, index) => put(`n/${index}`, "x".repeat(300))));
    await vi.waitFor(() => expect(follower.status.kind).toBe("too-large"));
    expect(troubles).toEqual([expect.stringMatching(/more than 20000 bytes/)]);
    expect(await follower.recordsAt(1, WITHIN_MS, "")).toBeUndefined();
    const next = await opened(prefix, { deposing: store.term, warm: follower });
    expect(await readAll(next, "")).toHaveLength(101);
  });

  it("names a record that is no JSON when it is scanned, as a store without a copy does", async () => {
    const prefix = newPrefix();
    const store = await opened(prefix);
    const key = `${layoutOf(prefix).records}vm/a`;
    await client.txn({ compare: [], success: [{ kind: "put", key, value: "{ torn" }] });
    const follower = follow(prefix);
    await copyOf(follower, prefix);
    const next = await opened(prefix, { deposing: store.term, warm: follower });
    await expect(readAll(next, "")).rejects.toThrow(/vm\/a/);
  });
});
