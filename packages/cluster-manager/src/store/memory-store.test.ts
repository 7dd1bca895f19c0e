import { expect, it } from "vitest";
import { MemoryDisk, openMemoryStore } from "./memory-store.ts";
import { storeContract } from "./store.contract.ts";

storeContract("memory", async () => {
  const disk = new MemoryDisk();
  return {
    open: () => openMemoryStore({ disk }),
    takeOver: () => openMemoryStore({ disk }),
    corrupt: async (key, text) => void disk.records.set(key, text),
    setSchema: async (schema) => {
      disk.schema = schema;
    },
    dispose: async () => {},
  };
});

it("L2: tells a deposed leader the term that deposed it", async () => {
  const disk = new MemoryDisk();
  const first = await openMemoryStore({ disk });
  const second = await openMemoryStore({ disk });
  if (!first.ok || !second.ok) throw new Error("a memory store always opens");
  expect(await first.value.commit([])).toEqual({ kind: "deposed", term: second.value.term });
});

it("ends a commit as it was told to: failed writes nothing, unknown may have written", async () => {
  const disk = new MemoryDisk();
  const opened = await openMemoryStore({ disk });
  if (!opened.ok) throw new Error("a memory store always opens");
  disk.faultOf = () => ({ kind: "failed", message: "no space left" });
  expect(await opened.value.commit([{ kind: "put", key: "a", value: 1 }])).toMatchObject({ kind: "failed" });
  expect(disk.records.size).toBe(0);
  disk.faultOf = () => ({ kind: "unknown", written: true, message: "no answer" });
  expect(await opened.value.commit([{ kind: "put", key: "a", value: 1 }])).toMatchObject({ kind: "unknown" });
  expect(disk.records.size).toBe(1);
});
