import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import type { RecordChange } from "../core/records.ts";
import { all, EtcdBed, put } from "./etcd-bed.fixture.ts";
import { COMMIT_BYTES_MAX } from "./etcd-groups.ts";
import { layoutOf } from "./etcd-layout.ts";
import { storeContract } from "./store.contract.ts";

let bed: EtcdBed;
beforeAll(async () => {
  bed = await EtcdBed.start(["127.0.71.1", "127.0.71.2", "127.0.71.3"]);
}, 60_000);
afterAll(() => bed?.stop());
afterEach(() => bed.closeStores());

storeContract("etcd", async () => {
  const prefix = bed.newPrefix();
  const layout = layoutOf(prefix);
  const metaOf = async (): Promise<object> => JSON.parse((await bed.stored(layout.meta)) ?? "{}");
  return {
    open: () => bed.open(prefix),
    takeOver: (store) => bed.open(prefix, { manager: "b", deposing: store.term }),
    corrupt: (key, text) => bed.edit(layout.records + key, text),
    setSchema: async (schema) => bed.edit(layout.meta, JSON.stringify({ ...(await metaOf()), schema })),
    dispose: async () => {},
  };
});

describe("the etcd store's term", () => {
  it("L2: tells a deposed leader the term that deposed it, and changes nothing for it, however large the commit", async () => {
    const prefix = bed.newPrefix();
    const first = await bed.opened(prefix);
    const second = await bed.opened(prefix, { manager: "b", deposing: first.term });
    expect(await first.commit([put("vm/a", 1)])).toEqual({ kind: "deposed", term: second.term });
    const third = await bed.opened(prefix, { manager: "a", deposing: second.term });
    const many = Array.from({ length: 500 }, (_, index) => put(`n/${index}`, index));
    expect(await second.commit(many)).toEqual({ kind: "deposed", term: third.term });
    expect(await all(third)).toEqual([]);
  });

  it("L1: of managers that open together one leads, and the others hear who", async () => {
    const prefix = bed.newPrefix();
    const before = await bed.opened(prefix);
    const both = await Promise.all(
      ["b", "c", "d"].map((manager) => bed.open(prefix, { manager, deposing: before.term })),
    );
    const won = both.flatMap((result) => (result.ok ? [result.value] : []));
    for (const store of won) bed.closeLater(store);
    expect(won).toHaveLength(1);
    for (const result of both)
      if (!result.ok) expect(result.error).toMatchObject({ kind: "locked", message: /led by manager .* under term 2/ });
  });

  it("waits for a leader that lives, and leads at once where it gave up", async () => {
    const prefix = bed.newPrefix();
    const first = await bed.opened(prefix);
    expect(await bed.open(prefix, { manager: "b" })).toMatchObject({ ok: false, error: { kind: "locked" } });
    expect(await bed.open(prefix, { manager: "b", deposing: first.term - 1 })).toMatchObject({ ok: false });
    await first.close();
    expect((await bed.opened(prefix, { manager: "b" })).term).toBe(2);
  });

  it("L2: a leader that writes nothing hears all the same that it was deposed, once, and by which term", async () => {
    const prefix = bed.newPrefix();
    const heard: number[] = [];
    const first = await bed.opened(prefix, { leaseSeconds: 1, onDeposed: (term) => heard.push(term) });
    const second = await bed.opened(prefix, { manager: "b", deposing: first.term });
    await expect.poll(() => heard).toEqual([second.term]);
    expect(await second.commit([put("a", 1)])).toEqual({ kind: "committed" });
    expect(await first.commit([put("a", 2)])).toEqual({ kind: "deposed", term: second.term });
    expect(heard).toEqual([second.term]);
  });

  it("says again that it leads when its lease ran out and nobody took over", async () => {
    const prefix = bed.newPrefix();
    await bed.opened(prefix, { leaseSeconds: 1 });
    const { lead } = layoutOf(prefix);
    const body = JSON.stringify({ key: Buffer.from(lead).toString("base64") });
    const response = await fetch(`${bed.cluster.endpoints[0]}/v3/kv/range`, { method: "POST", body });
    const { kvs } = z.object({ kvs: z.array(z.object({ lease: z.string() })) }).parse(await response.json());
    await bed.client.revokeLease(kvs[0]?.lease ?? "");
    expect(await bed.stored(lead)).toBeUndefined();
    await vi.waitFor(async () => expect(await bed.stored(lead)).toContain('"term":1'), { timeout: 5_000 });
    expect(await bed.open(prefix, { manager: "b" })).toMatchObject({ ok: false, error: { kind: "locked" } });
  });

  it("refuses a prefix of another site, and one that something else uses", async () => {
    const prefix = bed.newPrefix();
    await (await bed.opened(prefix)).close();
    expect(await bed.open(prefix, { site: "beta.example" })).toMatchObject({
      ok: false,
      error: { kind: "foreign", message: /records of alpha.example, not of beta.example.*store.prefix/ },
    });
    const other = bed.newPrefix();
    await bed.edit(`${other}registry/pods`, "x");
    expect(await bed.open(other)).toMatchObject({ ok: false, error: { kind: "foreign", message: /registry\/pods/ } });
    const torn = bed.newPrefix();
    await bed.edit(`${torn}record/vm/a`, "1");
    expect(await bed.open(torn)).toMatchObject({ ok: false, error: { kind: "damaged", message: /restore/ } });
  });

  it("L1: refuses a store whose term went back, by each sign of a restored backup, until an admin names a floor", async () => {
    const prefix = bed.newPrefix();
    const layout = layoutOf(prefix);
    await (await bed.opened(prefix)).close();
    expect(await bed.open(prefix, { knownTerm: 7 })).toMatchObject({
      ok: false,
      error: {
        kind: "went-back",
        message: /stands at term 1, and term 7 was given before.*muster restore --in-place --above 7/,
      },
    });
    const meta = JSON.parse((await bed.stored(layout.meta)) ?? "");
    await bed.edit(layout.meta, JSON.stringify({ ...meta, clusterId: "1" }));
    expect(await bed.open(prefix)).toMatchObject({
      ok: false,
      error: { kind: "went-back", message: /another etcd cluster/ },
    });
    await bed.edit(layout.meta, JSON.stringify({ ...meta, raftTerm: 1_000_000 }));
    expect(await bed.open(prefix)).toMatchObject({
      ok: false,
      error: { kind: "went-back", message: /elections began anew/ },
    });
    const warnings: string[] = [];
    const store = await bed.opened(prefix, { termFloor: 12, onWarning: (message) => warnings.push(message) });
    expect(store.term).toBe(13);
    expect(warnings).toEqual(expect.arrayContaining([expect.stringMatching(/put back from a backup/)]));
    await store.close();
    expect((await bed.opened(prefix)).term).toBe(14);
    expect(await bed.open(bed.newPrefix(), { knownTerm: 3 })).toMatchObject({
      ok: false,
      error: { kind: "went-back" },
    });
  });

  it("warns of an etcd before 3.5.14", async () => {
    const warnings: string[] = [];
    await bed.opened(bed.newPrefix(), { onWarning: (message) => warnings.push(message) });
    const version = await bed.client.version();
    const old = version.ok && /^(3\.[0-4]\.|3\.5\.([0-9]|1[0-3])$)/.test(version.value);
    // The store is open before its question of the version is answered.
    if (old) await vi.waitFor(() => expect(warnings).toHaveLength(1), { timeout: 10_000, interval: 5 });
    expect(warnings).toEqual(old ? [expect.stringMatching(/older than 3\.5\.14/)] : []);
  });

  it("says that etcd is away where nobody answers, and with what it cannot be used", async () => {
    const away = await bed.open(bed.newPrefix(), { endpoints: ["http://127.0.71.250:2379"], readMs: 300 });
    expect(away).toMatchObject({ ok: false, error: { kind: "unavailable", message: /ECONNREFUSED/ } });
    const auth = { user: "muster", password: "x" };
    const denied = await bed.open(bed.newPrefix(), { auth });
    expect(denied).toMatchObject({ ok: false, error: { kind: "unusable", message: /not enabled.*check user/ } });
  });
});

describe("the etcd store's commits", () => {
  const many = (count: number, value: unknown): RecordChange[] =>
    Array.from({ length: count }, (_, index) => put(`n/${String(index).padStart(5, "0")}`, value));

  it("leaves no stage behind a commit of more operations than a transaction takes", async () => {
    const prefix = bed.newPrefix();
    const store = await bed.opened(prefix);
    expect(await store.commit(many(1_000, 1))).toEqual({ kind: "committed" });
    expect(await store.commit([put("n/00000", 2), { kind: "delete", key: "n/00001" }])).toEqual({ kind: "committed" });
    const records = await all(store);
    expect(records).toHaveLength(999);
    expect(records[0]).toEqual(["n/00000", 2]);
    expect(await bed.countBelow(layoutOf(prefix).stages)).toBe(0);
  });

  it("L3: a successor finds a staged commit whole as soon as it was answered", async () => {
    const prefix = bed.newPrefix();
    const layout = layoutOf(prefix);
    const first = await bed.opened(prefix);
    await first.commit(many(300, "old"));
    // Answered when its mark stands; who takes over in that moment carries it into the records.
    const changes: RecordChange[] = [...many(300, "new"), { kind: "delete", key: "n/00299" }];
    expect(await first.commit(changes)).toEqual({ kind: "committed" });
    const second = await bed.opened(prefix, { manager: "b", deposing: first.term });
    const records = await all(second);
    expect(records).toHaveLength(299);
    expect(new Set(records.map(([, value]) => value))).toEqual(new Set(["new"]));
    expect(await bed.countBelow(layout.stages)).toBe(0);
  });

  it("L3: a stage without its mark counts for nothing, one with it is carried in by whoever opens", async () => {
    const prefix = bed.newPrefix();
    const layout = layoutOf(prefix);
    const first = await bed.opened(prefix);
    await first.commit([put("a", 1), put("b", 1)]);
    await bed.edit(
      `${layout.stages}x-1/0`,
      JSON.stringify([
        ["a", "2"],
        ["b", null],
      ]),
    );
    const second = await bed.opened(prefix, { deposing: first.term });
    expect(await all(second)).toEqual([
      ["a", 1],
      ["b", 1],
    ]);
    await bed.edit(layout.commit, JSON.stringify({ opening: "x", number: 1, staged: 1 }));
    const third = await bed.opened(prefix, { deposing: second.term });
    expect(await all(third)).toEqual([["a", 2]]);
    await bed.edit(layout.commit, JSON.stringify({ opening: "x", number: 2, staged: 1 }));
    expect(await bed.open(prefix, { deposing: third.term })).toMatchObject({ ok: false, error: { kind: "damaged" } });
  });

  it("S2: refuses a record and a commit above its bounds, and goes on", async () => {
    const store = await bed.opened(bed.newPrefix());
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
    const store = await bed.opened(bed.newPrefix());
    expect(await store.commit(many(50, "x".repeat(450_000)))).toEqual({ kind: "committed" });
    expect(await all(store)).toHaveLength(50);
  });

  it("reads more than a page, all as of one revision", async () => {
    const store = await bed.opened(bed.newPrefix());
    await store.commit(many(2_500, { filler: "x".repeat(200) }));
    const records = await all(store);
    expect(records).toHaveLength(2_500);
    expect(records.map(([key]) => key)).toEqual(records.map(([key]) => key).toSorted());
  });
});
