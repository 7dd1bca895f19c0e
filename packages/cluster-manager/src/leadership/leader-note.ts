import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProcessIdentity } from "@muster/base";
import { z } from "zod";

const leaderNoteSchema = z.object({
  manager: z.string().min(1).max(64),
  pid: z.int().min(1),
  startTicks: z.number(),
  term: z.int().min(1),
  /** Base address of its HTTP API. */
  url: z.url(),
});

/** Who led last, as it said itself: a hint for those who wait. The store alone decides who leads. */
export type LeaderNote = ProcessIdentity & z.output<typeof leaderNoteSchema>;

/** Replaces the note beside the store as a whole. */
export function writeLeaderNote(storePath: string, note: LeaderNote): void {
  const path = notePath(storePath);
  writeFileSync(`${path}.new`, `${JSON.stringify(note)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** The note, or `undefined` where there is none that can be read. */
export function readLeaderNote(storePath: string): LeaderNote | undefined {
  try {
    const note = leaderNoteSchema.safeParse(JSON.parse(readFileSync(notePath(storePath), "utf8")));
    return note.success ? note.data : undefined;
  } catch {
    return undefined;
  }
}

function notePath(storePath: string): string {
  return join(storePath, "leader.json");
}
