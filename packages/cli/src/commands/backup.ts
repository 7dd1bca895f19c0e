import { open, rename, rm } from "node:fs/promises";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { openSession } from "../session.ts";
import { say } from "../terminal.ts";
import { expectValue } from "../wait.ts";

export function addBackupCommand(program: Command): void {
  program
    .command("backup [file]")
    .description("all records of a live site as of one moment, into a file that must not exist yet, or - for stdout")
    .addHelpText(
      "after",
      `
The file holds what users keep to themselves, such as the user-data of their VMs, and no key, token or password of the
site: keep those, and cluster.yaml, beside it. Needs the role admin, or a token whose entry says "may: [backup]".
Without FILE it is <site>-<time>.backup in this folder.

  muster backup                       muster backup - | age -r age1… > alpha.backup.age
`,
    )
    .action(async (file: string | undefined, _options: object, command: Command) => {
      const { client } = openSession(command);
      const pieces = expectValue(await client.backup());
      if (file === "-") {
        await toStdout(pieces);
        return;
      }
      const path =
        file ?? `${expectValue(await client.site()).domain}-${new Date().toISOString().replace(/[:.]/g, "-")}.backup`;
      await toFile(pieces, path);
    });
}

/** A backup without its end is worth nothing, and only its end says so: it is known by its last line. */
const END = /\n\{"end":true,"records":\d+,"sha256":"[0-9a-f]{64}"\}\n$/;
const TAIL_LENGTH = 256;

async function toStdout(pieces: AsyncGenerator<Uint8Array>): Promise<void> {
  let tail = "";
  await following(pieces, async (piece) => {
    tail = (tail + Buffer.from(piece).toString("latin1")).slice(-TAIL_LENGTH);
    if (!process.stdout.write(piece))
      await new Promise<void>((resolve) => process.stdout.once("drain", () => resolve()));
  });
  if (!END.test(tail)) throw cutOff();
}

/** Written beside its name, read back and checked as a restore would, and only then given it. */
async function toFile(pieces: AsyncGenerator<Uint8Array>, path: string): Promise<void> {
  const partial = `${path}.partial`;
  const taken = await open(path, "r").catch(() => undefined);
  if (taken !== undefined) {
    await taken.close();
    throw new CommandFailed(`${path} is there already; name another file, or remove it`, EXIT.failed);
  }
  try {
    const file = await open(partial, "w", 0o600).catch((cause: unknown) => {
      throw new CommandFailed(`${partial} cannot be written: ${textOf(cause)}`, EXIT.failed);
    });
    try {
      await following(pieces, async (piece) => {
        await file.writeFile(piece);
      });
      await file.sync();
    } finally {
      await file.close();
    }
    const { readBackup } = await import("@muster/cluster-manager/backup");
    const checked = await readBackup(partial, () => {});
    if (!checked.ok) throw new CommandFailed(checked.error.replaceAll(partial, path), EXIT.failed);
    await rename(partial, path);
    const { records, sha256, head } = checked.value;
    say(`${path}: ${records} records of ${head.site} as of ${head.takenAt}, term ${head.term}, sha256 ${sha256}`);
  } finally {
    await rm(partial, { force: true });
  }
}

async function following(
  pieces: AsyncGenerator<Uint8Array>,
  take: (piece: Uint8Array) => Promise<void>,
): Promise<void> {
  const broken = (cause: unknown): never => {
    throw new CommandFailed(`the backup broke off: ${textOf(cause)}; take it again`, EXIT.unreachable);
  };
  for (;;) {
    const next = await pieces.next().catch(broken);
    if (next.done === true) return;
    await take(next.value);
  }
}

function cutOff(): CommandFailed {
  return new CommandFailed("the backup broke off before its end; take it again", EXIT.unreachable);
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
