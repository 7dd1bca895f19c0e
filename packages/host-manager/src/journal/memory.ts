import { err, ok } from "@muster/base";
import { contentOf, entryOf } from "./entry.ts";
import type { Journal } from "./port.ts";

/** What a journal in memory leaves behind when its owner goes: give it to the next one to restart on it. */
export type MemoryDisk = { readonly entries: Map<string, string>; owned: boolean };

export function memoryDisk(): MemoryDisk {
  return { entries: new Map(), owned: false };
}

/** A journal in memory, for simulated hosts: durable as long as its `disk` is kept. */
export function memoryJournal(disk: MemoryDisk = memoryDisk()): Journal {
  let open = false;
  return {
    async load() {
      if (disk.owned) return err({ kind: "locked", message: "another host manager uses this journal" });
      disk.owned = true;
      open = true;
      const content = contentOf(
        Array.from(disk.entries, ([key, text]): { key: string; value: unknown } => ({ key, value: JSON.parse(text) })),
      );
      return content.ok ? ok(content.value) : err({ kind: "damaged", message: content.error });
    },
    async commit(changes) {
      if (!open) throw new Error("the journal is not open");
      for (const { key, value } of changes.map(entryOf)) {
        if (value === undefined) disk.entries.delete(key);
        else disk.entries.set(key, JSON.stringify(value));
      }
    },
    async close() {
      if (open) disk.owned = false;
      open = false;
    },
  };
}
