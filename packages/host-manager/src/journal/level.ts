import { err, ok } from "@muster/base";
import { Level } from "level";
import { contentOf, type Entry, entryOf } from "./entry.ts";
import type { Journal, JournalFault } from "./port.ts";

/** A journal in a LevelDB of its own, each commit one synchronous batch (J1); LevelDB's lock admits one owner (J3). */
export function levelJournal(folder: string): Journal {
  const level = new Level<string, unknown>(folder, { keyEncoding: "utf8", valueEncoding: "json" });
  return {
    async load() {
      try {
        await level.open();
        const entries: Entry[] = [];
        for await (const [key, value] of level.iterator()) entries.push({ key, value });
        const content = contentOf(entries);
        if (content.ok) return ok(content.value);
        await level.close();
        return err({
          kind: "damaged",
          message: `the journal in ${folder} is damaged: ${content.error}; move the folder away, the host then adopts what runs`,
        });
      } catch (cause) {
        return err(openFault(folder, cause));
      }
    },
    async commit(changes) {
      const operations = changes
        .map(entryOf)
        .map(({ key, value }) =>
          value === undefined ? ({ type: "del", key } as const) : ({ type: "put", key, value } as const),
        );
      await level.batch(operations, { sync: true });
    },
    async close() {
      if (level.status === "open") await level.close();
    },
  };
}

function openFault(folder: string, cause: unknown): JournalFault {
  const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code = reason instanceof Error && "code" in reason ? reason.code : undefined;
  if (code === "LEVEL_LOCKED") {
    return { kind: "locked", message: `another host manager uses the journal in ${folder}; stop it first` };
  }
  const text = reason instanceof Error ? reason.message : String(reason);
  if (code === "LEVEL_CORRUPTION" || text.startsWith("Corruption")) {
    return {
      kind: "damaged",
      message: `the journal in ${folder} is damaged: ${text}; move the folder away, the host then adopts what runs`,
    };
  }
  return { kind: "unusable", message: `the journal in ${folder} cannot be opened: ${text}` };
}
