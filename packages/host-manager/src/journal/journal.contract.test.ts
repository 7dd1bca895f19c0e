import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { describe, expect, it } from "vitest";
import { journalContract } from "./journal.contract.ts";
import { levelJournal } from "./level.ts";
import { memoryDisk, memoryJournal } from "./memory.ts";

journalContract("in memory", async () => {
  const disk = memoryDisk();
  return {
    open: () => memoryJournal(disk),
    damage: async () => void disk.entries.set("head", '{"term":"seven"}'),
    remove: async () => {},
  };
});

journalContract("LevelDB", async () => {
  const folder = mkdtempSync(join(tmpdir(), "muster-journal-"));
  return {
    open: () => levelJournal(folder),
    async damage() {
      const level = new Level<string, unknown>(folder, { valueEncoding: "json" });
      await level.put("head", { term: "seven" });
      await level.close();
    },
    remove: async () => rmSync(folder, { recursive: true, force: true }),
  };
});

describe("the journal in LevelDB", () => {
  it("that cannot be opened says where and why", async () => {
    const folder = mkdtempSync(join(tmpdir(), "muster-journal-"));
    try {
      writeFileSync(join(folder, "file"), "");
      const journal = levelJournal(join(folder, "file", "journal"));
      const refused = await journal.load();
      await journal.close();
      if (refused.ok) throw new Error("opened below a file");
      expect(refused.error.kind).toBe("unusable");
      expect(refused.error.message).toContain(join(folder, "file", "journal"));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
