import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { all, EtcdBed, put } from "./etcd-bed.fixture.ts";
import { layoutOf } from "./etcd-layout.ts";
import { EtcdRelay as Relay } from "./etcd-relay.fixture.ts";
import { readAll } from "./read-all.ts";
import type { CommitOutcome, Store } from "./store.ts";

let bed: EtcdBed;
beforeAll(async () => {
  bed = await EtcdBed.start(["127.0.71.5", "127.0.71.6", "127.0.71.7"]);
}, 60_000);
afterAll(() => bed?.stop());
afterEach(() => bed.closeStores());

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
    const prefix = bed.newPrefix();
    const store = await bed.opened(prefix);
    const load = new Load(store, ["a", "b", "c", "d"]);
    await load.more(50);
    for (let round = 0; round < 2; round += 1) {
      const leader = await bed.cluster.leader();
      await bed.cluster.kill(leader);
      await load.more(50);
      await bed.cluster.restart(leader);
    }
    await load.stop();
    expect(load.others).toEqual([]);
    const next = await bed.opened(prefix, { manager: "b", deposing: store.term });
    await expectNothingLost(next, load.acknowledged);
  });

  it("goes on when a member hangs: another one is asked", { timeout: 60_000 }, async () => {
    const leader = await bed.cluster.leader();
    const hanging = (leader + 1) % 3;
    const endpoints = [hanging, leader].map((index) => bed.cluster.endpoints[index] ?? "");
    const store = await bed.opened(bed.newPrefix(), { endpoints });
    await store.commit([put("a", 0)]);
    bed.cluster.signal(hanging, "SIGSTOP");
    try {
      expect(await store.commit([put("a", 1)])).toEqual({ kind: "committed" });
      expect(await all(store)).toEqual([["a", 1]]);
    } finally {
      bed.cluster.signal(hanging, "SIGCONT");
    }
    await bed.cluster.ready(hanging);
  });

  it("answers unknown within its deadline without a quorum, failed without any member, and recovers", {
    timeout: 60_000,
  }, async () => {
    const prefix = bed.newPrefix();
    const store = await bed.opened(prefix, { commitMs: 1_500, requestMs: 500, readMs: 1_000 });
    await store.commit([put("a", 1)]);
    await bed.cluster.kill(0);
    await bed.cluster.kill(1);
    const startMs = performance.now();
    const first = await store.commit([put("a", 2)]);
    expect(first.kind).toBe("unknown");
    expect(performance.now() - startMs).toBeLessThan(5_000);
    // It was not repeated blindly: the next one first asks what became of it, and cannot.
    expect(await store.commit([put("a", 3)])).toMatchObject({ kind: "failed" });
    await expect(all(store)).rejects.toThrow(/cannot be read/);
    await bed.cluster.kill(2);
    const fresh = await bed.open(prefix, { manager: "b", readMs: 300 });
    expect(fresh).toMatchObject({ ok: false, error: { kind: "unavailable" } });
    await Promise.all([0, 1, 2].map((index) => bed.cluster.restart(index)));
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
    const store = await bed.opened(bed.newPrefix(), { commitMs: 500, requestMs: 500 });
    await store.commit([put("a", 1)]);
    await Promise.all([0, 1, 2].map((index) => bed.cluster.kill(index)));
    // The first may still meet a connection that was open.
    await store.commit([put("a", 2)]);
    const outcome = await store.commit([put("a", 3)]);
    await Promise.all([0, 1, 2].map((index) => bed.cluster.restart(index)));
    expect(outcome).toMatchObject({ kind: "failed" });
    expect(await store.commit([put("a", 4)])).toEqual({ kind: "committed" });
  });
});

describe("the etcd store when an answer is lost or a request is late", () => {
  let relay: Relay;
  beforeEach(async () => {
    relay = await Relay.start("127.0.71.20", bed.cluster.endpoints[0] ?? "");
  });
  afterEach(() => relay.stop());
  const direct = (): string => bed.cluster.endpoints[1] ?? "";

  it("finds out by itself that a commit was written whose answer was lost", async () => {
    const store = await bed.opened(bed.newPrefix(), { endpoints: [relay.endpoint, direct()], requestMs: 300 });
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
    const store = await bed.opened(bed.newPrefix(), { endpoints: [relay.endpoint, direct()], requestMs: 300 });
    relay.mode = "hold-requests";
    expect(await store.commit([put("a", 1)])).toEqual({ kind: "committed" });
    expect(relay.held).toBe(1);
    expect(await store.commit([put("a", 2)])).toEqual({ kind: "committed" });
    expect(await relay.release()).toEqual([expect.not.stringContaining("succeeded")]);
    expect(await all(store)).toEqual([["a", 2]]);
  });

  it("L3: what was read after an unknown outcome stays true, also when the commit arrives at last", async () => {
    const store = await bed.opened(bed.newPrefix(), { endpoints: [relay.endpoint], requestMs: 200, commitMs: 500 });
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
    const prefix = bed.newPrefix();
    const store = await bed.opened(prefix, { endpoints: [relay.endpoint], requestMs: 200, commitMs: 500 });
    await store.commit([put("n/0", "old")]);
    relay.mode = "lose-marks";
    const changes = Array.from({ length: 300 }, (_, index) => put(`n/${index}`, "new"));
    expect(await store.commit(changes)).toMatchObject({ kind: "unknown" });
    relay.mode = "pass";
    const records = await all(store);
    expect(records).toHaveLength(300);
    expect(new Set(records.map(([, value]) => value))).toEqual(new Set(["new"]));
    expect(await bed.countBelow(layoutOf(prefix).stages)).toBe(0);
  });
});

describe("the etcd store when its manager dies", () => {
  it("L3: loses no acknowledged write and tears no commit when its process is killed, small or staged", {
    timeout: 90_000,
  }, async () => {
    const prefix = bed.newPrefix();
    const acknowledged = new Map<string, number>();
    for (let round = 0; round < 5; round += 1) {
      for (const [writer, count] of await writeUntilKilled(prefix, 600)) acknowledged.set(writer, count);
      const meta: { term: number } = JSON.parse((await bed.stored(layoutOf(prefix).meta)) ?? "");
      const store = await bed.opened(prefix, { deposing: meta.term });
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
  const args = ["--conditions=muster-source", "--no-warnings", fixture, prefix, ...bed.cluster.endpoints];
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
