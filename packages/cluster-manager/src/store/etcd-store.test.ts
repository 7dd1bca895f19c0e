import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemClock, systemRng } from "@muster/base";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import type { RecordChange } from "../core/records.ts";
import { EtcdClient } from "./etcd/etcd-client.ts";
import { EtcdCluster } from "./etcd-cluster.fixture.ts";
import { COMMIT_BYTES_MAX } from "./etcd-groups.ts";
import { layoutOf } from "./etcd-layout.ts";
import { type EtcdStoreOptions, openEtcdStore } from "./etcd-open.ts";
import { EtcdRelay as Relay } from "./etcd-relay.fixture.ts";
import { readAll } from "./read-all.ts";
import { storeContract } from "./store.contract.ts";
import type { CommitOutcome, Store } from "./store.ts";

const clock = systemClock;
const SITE = "alpha.example";
let cluster: EtcdCluster;
let client: EtcdClient;
let prefixes = 0;

beforeAll(async () => {
  cluster = await EtcdCluster.start({ addresses: ["127.0.71.1", "127.0.71.2", "127.0.71.3"] });
  client = new EtcdClient({ clock, endpoints: cluster.endpoints });
}, 60_000);
afterAll(async () => {
  client?.close();
  await cluster?.stop();
});

const stores: Store[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
});

const newPrefix = (): string => `test/${++prefixes}/`;
const open = (prefix: string, more: Partial<EtcdStoreOptions> = {}) =>
  openEtcdStore({ clock, rng: systemRng, endpoints: cluster.endpoints, site: SITE, manager: "a", prefix, ...more });
const opened = async (prefix: string, more: Partial<EtcdStoreOptions> = {}): Promise<Store> => {
  const result = await open(prefix, more);
  if (!result.ok) throw new Error(result.error.message);
  stores.push(result.value);
  return result.value;
};
const put = (key: string, value: unknown): RecordChange => ({ kind: "put", key, value });
const all = (store: Store): Promise<(readonly [string, unknown])[]> => readAll(store, "");
/** Writes behind the store's back. */
const edit = async (key: string, value: string): Promise<void> => {
  const answer = await client.txn({ compare: [], success: [{ kind: "put", key, value }] });
  if (!answer.ok) throw new Error(answer.error.message);
};
const stored = async (key: string): Promise<string | undefined> => {
  const answer = await client.range({ from: key });
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value.kvs[0]?.value;
};
const countBelow = async (prefix: string): Promise<number> => {
  const answer = await client.range({ from: prefix, prefix });
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value.kvs.length;
};

storeContract("etcd", async () => {
  const prefix = newPrefix();
  const layout = layoutOf(prefix);
  const metaOf = async (): Promise<object> => JSON.parse((await stored(layout.meta)) ?? "{}");
  return {
    open: () => open(prefix),
    takeOver: (store) => open(prefix, { manager: "b", deposing: store.term }),
    corrupt: (key, text) => edit(layout.records + key, text),
    setSchema: async (schema) => edit(layout.meta, JSON.stringify({ ...(await metaOf()), schema })),
    dispose: async () => {},
  };
});

describe("the etcd store's term", () => {
  it("L2: tells a deposed leader the term that deposed it, and changes nothing for it, however large the commit", async () => {
    const prefix = newPrefix();
    const first = await opened(prefix);
    const second = await opened(prefix, { manager: "b", deposing: first.term });
    expect(await first.commit([put("vm/a", 1)])).toEqual({ kind: "deposed", term: second.term });
    const third = await opened(prefix, { manager: "a", deposing: second.term });
    const many = Array.from({ length: 500 }, (_, index) => put(`n/${index}`, index));
    expect(await second.commit(many)).toEqual({ kind: "deposed", term: third.term });
    expect(await all(third)).toEqual([]);
  });

  it("L1: of managers that open together one leads, and the others hear who", async () => {
    const prefix = newPrefix();
    const before = await opened(prefix);
    const both = await Promise.all(["b", "c", "d"].map((manager) => open(prefix, { manager, deposing: before.term })));
    const won = both.flatMap((result) => (result.ok ? [result.value] : []));
    stores.push(...won);
    expect(won).toHaveLength(1);
    for (const result of both)
      if (!result.ok) expect(result.error).toMatchObject({ kind: "locked", message: /led by manager .* under term 2/ });
  });

  it("waits for a leader that lives, and leads at once where it gave up", async () => {
    const prefix = newPrefix();
    const first = await opened(prefix);
    expect(await open(prefix, { manager: "b" })).toMatchObject({ ok: false, error: { kind: "locked" } });
    expect(await open(prefix, { manager: "b", deposing: first.term - 1 })).toMatchObject({ ok: false });
    await first.close();
    expect((await opened(prefix, { manager: "b" })).term).toBe(2);
  });

  it("says again that it leads when its lease ran out and nobody took over", async () => {
    const prefix = newPrefix();
    await opened(prefix, { leaseSeconds: 1 });
    const { lead } = layoutOf(prefix);
    const body = JSON.stringify({ key: Buffer.from(lead).toString("base64") });
    const response = await fetch(`${cluster.endpoints[0]}/v3/kv/range`, { method: "POST", body });
    const { kvs } = z.object({ kvs: z.array(z.object({ lease: z.string() })) }).parse(await response.json());
    await client.revokeLease(kvs[0]?.lease ?? "");
    expect(await stored(lead)).toBeUndefined();
    await vi.waitFor(async () => expect(await stored(lead)).toContain('"term":1'), { timeout: 5_000 });
    expect(await open(prefix, { manager: "b" })).toMatchObject({ ok: false, error: { kind: "locked" } });
  });

  it("refuses a prefix of another site, and one that something else uses", async () => {
    const prefix = newPrefix();
    await (await opened(prefix)).close();
    expect(await open(prefix, { site: "beta.example" })).toMatchObject({
      ok: false,
      error: { kind: "foreign", message: /records of alpha.example, not of beta.example.*store.prefix/ },
    });
    const other = newPrefix();
    await edit(`${other}registry/pods`, "x");
    expect(await open(other)).toMatchObject({ ok: false, error: { kind: "foreign", message: /registry\/pods/ } });
    const torn = newPrefix();
    await edit(`${torn}record/vm/a`, "1");
    expect(await open(torn)).toMatchObject({ ok: false, error: { kind: "damaged", message: /restore/ } });
  });

  it("L1: refuses a store whose term went back, by each sign of a restored backup, until an admin names a floor", async () => {
    const prefix = newPrefix();
    const layout = layoutOf(prefix);
    await (await opened(prefix)).close();
    expect(await open(prefix, { knownTerm: 7 })).toMatchObject({
      ok: false,
      error: { kind: "went-back", message: /stands at term 1, and term 7 was given before.*store.termFloor/ },
    });
    const meta = JSON.parse((await stored(layout.meta)) ?? "");
    await edit(layout.meta, JSON.stringify({ ...meta, clusterId: "1" }));
    expect(await open(prefix)).toMatchObject({
      ok: false,
      error: { kind: "went-back", message: /another etcd cluster/ },
    });
    await edit(layout.meta, JSON.stringify({ ...meta, raftTerm: 1_000_000 }));
    expect(await open(prefix)).toMatchObject({
      ok: false,
      error: { kind: "went-back", message: /elections began anew/ },
    });
    const warnings: string[] = [];
    const store = await opened(prefix, { termFloor: 12, onWarning: (message) => warnings.push(message) });
    expect(store.term).toBe(13);
    expect(warnings).toEqual(expect.arrayContaining([expect.stringMatching(/put back from a backup/)]));
    await store.close();
    expect((await opened(prefix)).term).toBe(14);
    expect(await open(newPrefix(), { knownTerm: 3 })).toMatchObject({ ok: false, error: { kind: "went-back" } });
  });

  it("warns of an etcd before 3.5.14", async () => {
    const warnings: string[] = [];
    await opened(newPrefix(), { onWarning: (message) => warnings.push(message) });
    const version = await client.version();
    const old = version.ok && /^(3\.[0-4]\.|3\.5\.([0-9]|1[0-3])$)/.test(version.value);
    expect(warnings).toEqual(old ? [expect.stringMatching(/older than 3\.5\.14/)] : []);
  });

  it("says that etcd is away where nobody answers, and with what it cannot be used", async () => {
    const away = await open(newPrefix(), { endpoints: ["http://127.0.71.250:2379"], readMs: 300 });
    expect(away).toMatchObject({ ok: false, error: { kind: "unavailable", message: /ECONNREFUSED/ } });
    const auth = { user: "muster", password: "x" };
    const denied = await open(newPrefix(), { auth });
    expect(denied).toMatchObject({ ok: false, error: { kind: "unusable", message: /not enabled.*check user/ } });
  });
});

describe("the etcd store's commits", () => {
  const many = (count: number, value: unknown): RecordChange[] =>
    Array.from({ length: count }, (_, index) => put(`n/${String(index).padStart(5, "0")}`, value));

  it("leaves no stage behind a commit of more operations than a transaction takes", async () => {
    const prefix = newPrefix();
    const store = await opened(prefix);
    expect(await store.commit(many(1_000, 1))).toEqual({ kind: "committed" });
    expect(await store.commit([put("n/00000", 2), { kind: "delete", key: "n/00001" }])).toEqual({ kind: "committed" });
    const records = await all(store);
    expect(records).toHaveLength(999);
    expect(records[0]).toEqual(["n/00000", 2]);
    expect(await countBelow(layoutOf(prefix).stages)).toBe(0);
  });

  it("L3: a successor finds a staged commit whole as soon as it was answered", async () => {
    const prefix = newPrefix();
    const layout = layoutOf(prefix);
    const first = await opened(prefix);
    await first.commit(many(300, "old"));
    // Answered when its mark stands; who takes over in that moment carries it into the records.
    const changes: RecordChange[] = [...many(300, "new"), { kind: "delete", key: "n/00299" }];
    expect(await first.commit(changes)).toEqual({ kind: "committed" });
    const second = await opened(prefix, { manager: "b", deposing: first.term });
    const records = await all(second);
    expect(records).toHaveLength(299);
    expect(new Set(records.map(([, value]) => value))).toEqual(new Set(["new"]));
    expect(await countBelow(layout.stages)).toBe(0);
  });

  it("L3: a stage without its mark counts for nothing, one with it is carried in by whoever opens", async () => {
    const prefix = newPrefix();
    const layout = layoutOf(prefix);
    const first = await opened(prefix);
    await first.commit([put("a", 1), put("b", 1)]);
    await edit(
      `${layout.stages}x-1/0`,
      JSON.stringify([
        ["a", "2"],
        ["b", null],
      ]),
    );
    const second = await opened(prefix, { deposing: first.term });
    expect(await all(second)).toEqual([
      ["a", 1],
      ["b", 1],
    ]);
    await edit(layout.commit, JSON.stringify({ opening: "x", number: 1, staged: 1 }));
    const third = await opened(prefix, { deposing: second.term });
    expect(await all(third)).toEqual([["a", 2]]);
    await edit(layout.commit, JSON.stringify({ opening: "x", number: 2, staged: 1 }));
    expect(await open(prefix, { deposing: third.term })).toMatchObject({ ok: false, error: { kind: "damaged" } });
  });

  it("S2: refuses a record and a commit above its bounds, and goes on", async () => {
    const store = await opened(newPrefix());
    expect(await store.commit([put("big", "x".repeat(600_000))])).toMatchObject({
      kind: "failed",
      message: /record big is larger/,
    });
    const half = "x".repeat(500_000);
    const tooMany = many(Math.ceil(COMMIT_BYTES_MAX / half.length) + 1, half);
    expect(await store.commit(tooMany)).toMatchObject({ kind: "failed", message: /too large/ });
    const quotes = '"'.repeat(250_000);
    expect(await store.commit([...many(3, quotes), put("a", 1)])).toEqual({ kind: "committed" });
    expect(await all(store)).toHaveLength(4);
  });

  it("S2: reads records that make no page of the usual length within the bound of an answer", async () => {
    const store = await opened(newPrefix());
    expect(await store.commit(many(50, "x".repeat(450_000)))).toEqual({ kind: "committed" });
    expect(await all(store)).toHaveLength(50);
  });

  it("reads more than a page, all as of one revision", async () => {
    const store = await opened(newPrefix());
    await store.commit(many(2_500, { filler: "x".repeat(200) }));
    const records = await all(store);
    expect(records).toHaveLength(2_500);
    expect(records.map(([key]) => key)).toEqual(records.map(([key]) => key).toSorted());
  });
});

/** Load until told to stop; remembers what was acknowledged, and how long the longest commit took. */
class Load {
  readonly acknowledged = new Map<string, number>();
  readonly others: CommitOutcome[] = [];
  slowestMs = 0;
  #stop = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(store: Store, writers: readonly string[]) {
    const write = async (writer: string): Promise<void> => {
      for (let count = 1; !this.#stop; count += 1) {
        const startMs = performance.now();
        const outcome = await store.commit([put(`left/${writer}`, count), put(`right/${writer}`, count)]);
        this.slowestMs = Math.max(this.slowestMs, performance.now() - startMs);
        if (outcome.kind === "committed") this.acknowledged.set(writer, count);
        else this.others.push(outcome);
      }
    };
    this.#running = Promise.all(writers.map(write));
  }

  get total(): number {
    return [...this.acknowledged.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Until so many more commits are acknowledged. */
  async more(count: number): Promise<void> {
    const goal = this.total + count;
    while (this.total < goal && this.others.length < 100) await new Promise((resolve) => setImmediate(resolve));
    if (this.total < goal) throw new Error(`commits fail: ${JSON.stringify(this.others.at(-1))}`);
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await this.#running;
  }
}

async function expectNothingLost(store: Store, acknowledged: ReadonlyMap<string, number>): Promise<void> {
  const below = async (prefix: string): Promise<Map<string, unknown>> =>
    new Map((await readAll(store, prefix)).map(([key, value]) => [key.slice(prefix.length), value]));
  const left = await below("left/");
  expect(await below("right/")).toEqual(left);
  for (const [writer, count] of acknowledged) expect(left.get(writer)).toBeGreaterThanOrEqual(count);
}

describe("the etcd store when etcd's members die", () => {
  it("L3: loses no acknowledged write when etcd's leader is killed under load, and goes on by itself", {
    timeout: 60_000,
  }, async () => {
    const prefix = newPrefix();
    const store = await opened(prefix);
    const load = new Load(store, ["a", "b", "c", "d"]);
    await load.more(50);
    for (let round = 0; round < 2; round += 1) {
      const leader = await cluster.leader();
      await cluster.kill(leader);
      await load.more(50);
      await cluster.restart(leader);
    }
    await load.stop();
    expect(load.others).toEqual([]);
    const next = await opened(prefix, { manager: "b", deposing: store.term });
    await expectNothingLost(next, load.acknowledged);
  });

  it("goes on when a member hangs: another one is asked", { timeout: 60_000 }, async () => {
    const leader = await cluster.leader();
    const hanging = (leader + 1) % 3;
    const endpoints = [hanging, leader].map((index) => cluster.endpoints[index] ?? "");
    const store = await opened(newPrefix(), { endpoints });
    await store.commit([put("a", 0)]);
    cluster.signal(hanging, "SIGSTOP");
    try {
      expect(await store.commit([put("a", 1)])).toEqual({ kind: "committed" });
      expect(await all(store)).toEqual([["a", 1]]);
    } finally {
      cluster.signal(hanging, "SIGCONT");
    }
    await cluster.ready(hanging);
  });

  it("answers unknown within its deadline without a quorum, failed without any member, and recovers", {
    timeout: 60_000,
  }, async () => {
    const prefix = newPrefix();
    const store = await opened(prefix, { commitMs: 1_500, requestMs: 500, readMs: 1_000 });
    await store.commit([put("a", 1)]);
    await cluster.kill(0);
    await cluster.kill(1);
    const startMs = performance.now();
    const first = await store.commit([put("a", 2)]);
    expect(first.kind).toBe("unknown");
    expect(performance.now() - startMs).toBeLessThan(5_000);
    // It was not repeated blindly: the next one first asks what became of it, and cannot.
    expect(await store.commit([put("a", 3)])).toMatchObject({ kind: "failed" });
    await expect(all(store)).rejects.toThrow(/cannot be read/);
    await cluster.kill(2);
    const fresh = await open(prefix, { manager: "b", readMs: 300 });
    expect(fresh).toMatchObject({ ok: false, error: { kind: "unavailable" } });
    await Promise.all([0, 1, 2].map((index) => cluster.restart(index)));
    const [[, value] = []] = await all(store);
    expect([1, 2]).toContain(value);
    expect(await store.commit([put("b", 1)])).toEqual({ kind: "committed" });
    expect(await all(store)).toEqual([
      ["a", value],
      ["b", 1],
    ]);
    expect((await all(store))[0]).toEqual(["a", value]);
  });

  it("answers failed, not unknown, where no member takes the connection", { timeout: 60_000 }, async () => {
    const store = await opened(newPrefix(), { commitMs: 500, requestMs: 500 });
    await store.commit([put("a", 1)]);
    await Promise.all([0, 1, 2].map((index) => cluster.kill(index)));
    // The first may still meet a connection that was open.
    await store.commit([put("a", 2)]);
    const outcome = await store.commit([put("a", 3)]);
    await Promise.all([0, 1, 2].map((index) => cluster.restart(index)));
    expect(outcome).toMatchObject({ kind: "failed" });
    expect(await store.commit([put("a", 4)])).toEqual({ kind: "committed" });
  });
});

describe("the etcd store when an answer is lost or a request is late", () => {
  let relay: Relay;
  beforeEach(async () => {
    relay = await Relay.start("127.0.71.20", cluster.endpoints[0] ?? "");
  });
  afterEach(() => relay.stop());
  const direct = (): string => cluster.endpoints[1] ?? "";

  it("finds out by itself that a commit was written whose answer was lost", async () => {
    const store = await opened(newPrefix(), { endpoints: [relay.endpoint, direct()], requestMs: 300 });
    relay.mode = "lose-answers";
    expect(await store.commit([put("a", 1)])).toEqual({ kind: "committed" });
    expect(relay.lost).toBe(1);
    relay.mode = "pass";
    expect(await store.commit([put("b", 1)])).toEqual({ kind: "committed" });
    expect(await all(store)).toEqual([
      ["a", 1],
      ["b", 1],
    ]);
  });

  it("L2: a request that arrives after it was sent again changes nothing", async () => {
    const store = await opened(newPrefix(), { endpoints: [relay.endpoint, direct()], requestMs: 300 });
    relay.mode = "hold-requests";
    expect(await store.commit([put("a", 1)])).toEqual({ kind: "committed" });
    expect(relay.held).toBe(1);
    expect(await store.commit([put("a", 2)])).toEqual({ kind: "committed" });
    expect(await relay.release()).toEqual([expect.not.stringContaining("succeeded")]);
    expect(await all(store)).toEqual([["a", 2]]);
  });

  it("L3: what was read after an unknown outcome stays true, also when the commit arrives at last", async () => {
    const store = await opened(newPrefix(), { endpoints: [relay.endpoint], requestMs: 200, commitMs: 500 });
    await store.commit([put("a", 0)]);
    relay.mode = "hold-requests";
    expect(await store.commit([put("a", 1)])).toMatchObject({ kind: "unknown" });
    relay.mode = "pass";
    expect(await all(store)).toEqual([["a", 0]]);
    const late = await relay.release();
    expect(late.length).toBeGreaterThan(0);
    for (const answer of late) expect(answer).not.toContain("succeeded");
    expect(await all(store)).toEqual([["a", 0]]);
    expect(await store.commit([put("a", 2)])).toEqual({ kind: "committed" });
  });

  it("L3: a staged commit of unknown outcome that was written is found whole", async () => {
    const prefix = newPrefix();
    const store = await opened(prefix, { endpoints: [relay.endpoint], requestMs: 200, commitMs: 500 });
    await store.commit([put("n/0", "old")]);
    relay.mode = "lose-marks";
    const changes = Array.from({ length: 300 }, (_, index) => put(`n/${index}`, "new"));
    expect(await store.commit(changes)).toMatchObject({ kind: "unknown" });
    relay.mode = "pass";
    const records = await all(store);
    expect(records).toHaveLength(300);
    expect(new Set(records.map(([, value]) => value))).toEqual(new Set(["new"]));
    expect(await countBelow(layoutOf(prefix).stages)).toBe(0);
  });
});

describe("the etcd store when its manager dies", () => {
  it("L3: loses no acknowledged write and tears no commit when its process is killed, small or staged", {
    timeout: 90_000,
  }, async () => {
    const prefix = newPrefix();
    const acknowledged = new Map<string, number>();
    for (let round = 0; round < 5; round += 1) {
      for (const [writer, count] of await writeUntilKilled(prefix, 600)) acknowledged.set(writer, count);
      const meta: { term: number } = JSON.parse((await stored(layoutOf(prefix).meta)) ?? "");
      const store = await opened(prefix, { deposing: meta.term });
      await expectNothingLost(store, acknowledged);
      for (const writer of ["a", "b"]) {
        const block = new Set((await readAll(store, `block/${writer}/`)).map(([, value]) => value));
        expect(block.size).toBeLessThanOrEqual(1);
      }
      await store.close();
    }
    expect([...acknowledged.values()].reduce((total, count) => total + count, 0)).toBeGreaterThan(20);
  });
});

/** Starts writers in a child, kills it with SIGKILL after `lifeMs` of writing, and returns what it was told is stored. */
async function writeUntilKilled(prefix: string, lifeMs: number): Promise<Map<string, number>> {
  const fixture = join(import.meta.dirname, "etcd-crash-writer.fixture.ts");
  const args = ["--conditions=muster-source", "--no-warnings", fixture, prefix, ...cluster.endpoints];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const acknowledged = new Map<string, number>();
  let writing = false;
  for await (const line of linesOf(child)) {
    if (!writing) setTimeout(() => child.kill("SIGKILL"), lifeMs);
    writing = true;
    acknowledged.set(line.writer, line.count);
  }
  return acknowledged;
}

async function* linesOf(child: ChildProcess): AsyncIterable<{ readonly writer: string; readonly count: number }> {
  if (child.stdout === null) return;
  for await (const line of createInterface({ input: child.stdout })) {
    // The last line of a killed child may be cut short.
    if (line.endsWith("}")) yield JSON.parse(line);
  }
}
