import { existsSync, readFileSync, rmSync } from "node:fs";
import { err, ok, type Result } from "@muster/base";
import { z } from "zod";
import { identityOf, isRunning } from "../process/process-identity.ts";
import { writePrivately } from "./secret-store.ts";

const ownerSchema = z.object({ pid: z.int().min(1), startTicks: z.number() });

/** Admits one supervisor a state folder. A file left by one that died is recognised by process identity and taken over. */
export function takeSupervisorLock(path: string): Result<() => void, string> {
  const owner = readOwner(path);
  if (owner !== undefined && isRunning(owner))
    return err(
      `this federation is already running (process ${owner.pid}); stop it with Ctrl-C there, or choose another --state and --loopback`,
    );
  const own = identityOf(process.pid);
  if (own === undefined) return err("the process's own identity cannot be read from /proc; is it mounted?");
  writePrivately(path, JSON.stringify(own));
  return ok(() => rmSync(path, { force: true }));
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
