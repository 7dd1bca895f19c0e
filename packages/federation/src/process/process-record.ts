import { existsSync, readFileSync, rmSync } from "node:fs";
import { type Clock, identityOf, isRunning, type ProcessIdentity, signalProcess } from "@muster/base";
import { z } from "zod";
import { writePrivately } from "../state/secret-store.ts";

const identitySchema = z.object({ pid: z.int().min(1), startTicks: z.number() });
const recordSchema = z.array(identitySchema.extend({ name: z.string() }));

/**
 * The child processes of a federation on disk, so that the next start can end what a killed supervisor left behind.
 * By exact identity: a number that the system gave to somebody else is never signalled.
 */
export class ProcessRecord {
  readonly #path: string;
  readonly #entries = new Map<string, ProcessIdentity>();

  constructor(path: string) {
    this.#path = path;
  }

  add(name: string, pid: number): void {
    const identity = identityOf(pid);
    if (identity === undefined) return;
    this.#entries.set(name, identity);
    this.#write();
  }

  remove(name: string): void {
    if (this.#entries.delete(name)) this.#write();
  }

  clear(): void {
    this.#entries.clear();
    rmSync(this.#path, { force: true });
  }

  /** Ends what an earlier supervisor left: SIGTERM, then SIGKILL after `patienceMs`. Returns the names. */
  async endLeftovers(clock: Clock, patienceMs = 3_000): Promise<readonly string[]> {
    const left = readRecord(this.#path).filter(isRunning);
    for (const identity of left) signalProcess(identity, "SIGTERM");
    const deadlineMs = clock.nowMs() + patienceMs;
    while (left.some(isRunning) && clock.nowMs() < deadlineMs) await pause(clock, 25);
    for (const identity of left) signalProcess(identity, "SIGKILL");
    while (left.some(isRunning) && clock.nowMs() < deadlineMs + patienceMs) await pause(clock, 25);
    this.clear();
    return left.map(({ name }) => name);
  }

  #write(): void {
    const entries = [...this.#entries].map(([name, identity]) => ({ name, ...identity }));
    try {
      writePrivately(this.#path, JSON.stringify(entries));
    } catch {
      // A full disk must not end the supervisor. What the record is for is the second line: the kernel ends the children.
    }
  }
}

function readRecord(path: string): z.output<typeof recordSchema> {
  if (!existsSync(path)) return [];
  try {
    const record = recordSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return record.success ? record.data : [];
  } catch {
    // Half-written by a machine that lost power: every process of that time is gone with it.
    return [];
  }
}

function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(delayMs, resolve));
}
