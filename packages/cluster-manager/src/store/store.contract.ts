import type { Result } from "@muster/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordChange } from "../core/records.ts";
import { readAll } from "./read-all.ts";
import type { Store } from "./store.ts";
import type { StoreFault } from "./store-fault.ts";

/** One place where stores are opened, as an adapter's test provides it. */
export type StoreHarness = {
  open(): Promise<Result<Store, StoreFault>>;
  /** Another manager becomes leader while `store` thinks it still is one: deposed, or locked out where locks exist. */
  takeOver(store: Store): Promise<Result<Store, StoreFault>>;
  /** Puts raw text where a record's value belongs, while no store is open. */
  corrupt(key: string, text: string): Promise<void>;
  setSchema(schema: number): Promise<void>;
  dispose(): Promise<void>;
};

/** What every adapter of port Store promises. */
export function storeContract(name: string, harnessOf: () => Promise<StoreHarness>): void {
  describe(`port Store: ${name}`, () => {
    let harness: StoreHarness;
    const stores: Store[] = [];
    beforeEach(async () => {
      harness = await harnessOf();
    });
    afterEach(async () => {
      for (const store of stores.splice(0)) await store.close();
      await harness.dispose();
    });

    const opened = async (opening = harness.open()): Promise<Store> => {
      const result = await opening;
      if (!result.ok) throw new Error(result.error.message);
      stores.push(result.value);
      return result.value;
    };

    it("L1: every opening is the leader of a higher term", async () => {
      const first = await opened();
      await first.close();
      const second = await opened();
      await second.close();
      const third = await opened();
      expect(first.term).toBeGreaterThan(0);
      expect(second.term).toBeGreaterThan(first.term);
      expect(third.term).toBeGreaterThan(second.term);
    });

    it("L2: changes nothing once another manager took over", async () => {
      const first = await opened();
      expect(await first.commit([put("vm/a", 1)])).toEqual({ kind: "committed" });
      const second = await opened(harness.takeOver(first));
      const late = await first.commit([put("vm/a", 2), put("vm/b", 2)]);
      expect(["deposed", "failed"]).toContain(late.kind);
      expect(await all(second)).toEqual([["vm/a", 1]]);
      expect(await second.commit([put("vm/a", 3)])).toEqual({ kind: "committed" });
    });

    it("keeps what was committed for the next opening, in order of key", async () => {
      const first = await opened();
      await first.commit([put("vm/b", { text: "ü\u0000\n" }), put("host/z", [1, null]), put("vm/a", "x")]);
      await first.close();
      expect(await all(await opened())).toEqual([
        ["host/z", [1, null]],
        ["vm/a", "x"],
        ["vm/b", { text: "ü\u0000\n" }],
      ]);
    });

    it("scans by prefix of the key and nothing beside it", async () => {
      const store = await opened();
      await store.commit([put("vm/a", 1), put("vm", 2), put("vm0/a", 3), put("vm/b/c", 4), put("v", 5)]);
      expect(await all(store, "vm/")).toEqual([
        ["vm/a", 1],
        ["vm/b/c", 4],
      ]);
      expect(await all(store, "nothing/")).toEqual([]);
    });

    it("takes the last change of a key, and deletes", async () => {
      const store = await opened();
      await store.commit([put("a", 1), put("a", 2), put("b", 1), { kind: "delete", key: "b" }, put("c", 1)]);
      await store.commit([
        { kind: "delete", key: "c" },
        { kind: "delete", key: "never-was" },
      ]);
      expect(await all(store)).toEqual([["a", 2]]);
    });

    it("carries a batch of thousands of changes whole", async () => {
      const store = await opened();
      const changes = Array.from({ length: 5000 }, (_, index) => put(`n/${String(index).padStart(5, "0")}`, { index }));
      expect(await store.commit(changes)).toEqual({ kind: "committed" });
      expect(await all(store)).toHaveLength(5000);
    });

    it("answers commits that overlap in the order they were given", async () => {
      const store = await opened();
      await Promise.all(Array.from({ length: 50 }, (_, index) => store.commit([put("counter", index)])));
      expect(await all(store)).toEqual([["counter", 49]]);
    });

    it("shares no object with its caller", async () => {
      const store = await opened();
      const value = { phase: "queued" };
      await store.commit([put("vm/a", value)]);
      value.phase = "running";
      expect(await all(store)).toEqual([["vm/a", { phase: "queued" }]]);
    });

    it("reads all records of one moment, in order of key, whatever is committed meanwhile", async () => {
      const store = await opened();
      await store.commit(Array.from({ length: 3000 }, (_, index) => put(keyOf(index), "before")));
      const read: (readonly [string, string])[] = [];
      for await (const record of store.snapshot()) {
        if (read.length === 10) {
          await store.commit(Array.from({ length: 3000 }, (_, index) => put(keyOf(index), "after")));
          await store.commit([put("n/new", 1), { kind: "delete", key: keyOf(2999) }]);
        }
        read.push(record);
      }
      expect(read).toEqual(Array.from({ length: 3000 }, (_, index) => [keyOf(index), '"before"']));
      expect(await all(store)).toHaveLength(3000);
    });

    it("takes back what was read from another store, key by key and text by text", async () => {
      const store = await opened();
      await store.commit([put("vm/b", { text: "ü\u0000\n" }), put("host/z", [1, null]), put("vm/a", "x")]);
      const read: (readonly [string, string])[] = [];
      for await (const record of store.snapshot()) read.push(record);
      await store.commit([put("vm/c", 1), { kind: "delete", key: "vm/a" }]);
      await store.commit([
        { kind: "delete", key: "vm/c" },
        ...read.map(([key, text]): RecordChange => put(key, JSON.parse(text))),
      ]);
      const again: (readonly [string, string])[] = [];
      for await (const record of store.snapshot()) again.push(record);
      expect(again).toEqual(read);
    });

    it("refuses to commit after it was closed", async () => {
      const store = await opened();
      await store.close();
      await store.close();
      expect((await store.commit([put("a", 1)])).kind).toBe("failed");
      expect(await all(await opened())).toEqual([]);
    });

    it("fails a scan over a value that is no JSON, naming its key", async () => {
      const store = await opened();
      await store.commit([put("vm/a", 1), put("vm/b", 2)]);
      await store.close();
      await harness.corrupt("vm/b", "{ torn");
      await expect(all(await opened())).rejects.toThrow(/vm\/b/);
    });

    it("refuses a store of a newer schema, with the remedy", async () => {
      await (await opened()).close();
      await harness.setSchema(99);
      const refused = await harness.open();
      expect(refused).toMatchObject({ ok: false, error: { kind: "newer-schema" } });
      if (!refused.ok) expect(refused.error.message).toMatch(/schema 99.*newer version/);
    });
  });
}

function keyOf(index: number): string {
  return `n/${String(index).padStart(5, "0")}`;
}

function put(key: string, value: unknown): RecordChange {
  return { kind: "put", key, value };
}

function all(store: Store, prefix = ""): Promise<(readonly [string, unknown])[]> {
  return readAll(store, prefix);
}
