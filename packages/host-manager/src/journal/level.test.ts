import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { until } from "../testing/until.ts";
import { levelJournal } from "./level.ts";

const WRITER = fileURLToPath(new URL("./crash-writer.fixture.ts", import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-journal-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Has the writer commit at least `turns` more, and kills it in the middle of the next; what it said it had stored. */
async function writeAndKill(turns: number): Promise<number> {
  const writer = spawn(process.execPath, ["--conditions=muster-source", WRITER, folder]);
  let output = "";
  writer.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const ended = new Promise((resolve) => writer.once("exit", resolve));
  try {
    await until("the writer to write", () => output.split("\n").length > turns);
  } finally {
    writer.kill("SIGKILL");
    await ended;
  }
  return Number(output.trim().split("\n").at(-1));
}

it("J1, J2: killed in the middle of commits it keeps every one that was acknowledged, whole", {
  timeout: 40_000,
}, async () => {
  for (let round = 1; round <= 4; round += 1) {
    const stored = await writeAndKill(20 * round);
    const journal = levelJournal(folder);
    const content = await journal.load();
    await journal.close();
    if (!content.ok) throw new Error(content.error.message);
    const { head, attempts } = content.value;
    expect(head.term).toBeGreaterThanOrEqual(stored);
    expect(attempts).toHaveLength(head.term);
  }
});
