import { existsSync, linkSync, readFileSync, rmSync } from "node:fs";
import { err, identityOf, isRunning, ok, type Result } from "@muster/base";
import { z } from "zod";
import { writePrivately } from "./secret-store.ts";

const ownerSchema = z.object({ pid: z.int().min(1), startTicks: z.number() });

/** Admits one supervisor a state folder. A file left by one that died is recognised by process identity and taken over. */
export function takeSupervisorLock(path: string): Result<() => void, string> {
  const own = identityOf(process.pid);
  if (own === undefined) return err("the process's own identity cannot be read from /proc; is it mounted?");
  const staged = `${path}.${own.pid}`;
  try {
    writePrivately(staged, JSON.stringify(own));
    const claimed = claim(path, staged);
    rmSync(staged, { force: true });
    return claimed;
  } catch (cause) {
    return err(`${path} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** A link is made or there is one already, with nothing in between: of two starts at once, one wins. */
function claim(path: string, staged: string): Result<() => void, string> {
  const owner = readOwner(path);
  if (owner === undefined || !isRunning(owner)) rmSync(path, { force: true });
  try {
    linkSync(staged, path);
    return ok(() => rmSync(path, { force: true }));
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause;
    const pid = readOwner(path)?.pid;
    return err(
      `this federation is already running${pid === undefined ? "" : ` (process ${pid})`}; stop it with Ctrl-C there, or choose another --state and --loopback`,
    );
  }
}

function readOwner(path: string): z.output<typeof ownerSchema> | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const owner = ownerSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return owner.success ? owner.data : undefined;
  } catch {
    return undefined;
  }
}
