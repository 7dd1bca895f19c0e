import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { decode, describeFaults, err, ok, type Result } from "@muster/base";
import {
  attemptSchema,
  guestNicSchema,
  tunnelEndSchema,
  tunnelVniSchema,
  uuidSchema,
  vmIdSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { TunnelPlan } from "./port.ts";

const keySchema = z.string().min(1);

const noteSchema = z.object({
  id: uuidSchema,
  end: z.enum(["gateway", "guest"]),
  attempt: attemptSchema,
  vm: vmIdSchema,
  vni: tunnelVniSchema,
  nic: guestNicSchema,
  peer: tunnelEndSchema.optional(),
  /** Made here, never said to anybody (S3). */
  privateKey: keySchema,
  publicKey: keySchema,
  port: z.int().min(1).max(65_535),
  /** Of a gateway's end: how long it may stay without another word of its leader. */
  keepMs: z.int().min(1).optional(),
  /** The process that carries it, where that is not the kernel. */
  carrier: z.object({ pid: z.int().min(2), startTicks: z.number() }).optional(),
});

/** An end that is there, or is to be. */
export type TunnelNote = z.output<typeof noteSchema>;

const closedSchema = z.object({ id: uuidSchema, attempt: attemptSchema });

const fileSchema = z.object({ tunnels: z.array(noteSchema), closed: z.array(closedSchema) });
type Content = z.output<typeof fileSchema>;

/** Gateway ends that are over are remembered, the oldest forgotten first, so that a late order opens none again (H5, S2). */
const CLOSED_MAX = 2_000;

/** Which ends this host has, with their keys; in a file that only its owner reads, written before anything is made. */
export class TunnelNotes {
  readonly #path: string;
  #content: Content;

  private constructor(path: string, content: Content) {
    this.#path = path;
    this.#content = content;
  }

  /** The error says what to do with a file that cannot be read. */
  static open(path: string): Result<TunnelNotes, string> {
    if (!existsSync(path)) return ok(new TunnelNotes(path, { tunnels: [], closed: [] }));
    try {
      const read = decode(fileSchema, JSON.parse(readFileSync(path, "utf8")));
      if (read.ok) return ok(new TunnelNotes(path, read.value));
      return err(`${path} is not what this host manager wrote: ${describeFaults(read.error)}; move it away`);
    } catch (cause) {
      return err(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}; move it away`);
    }
  }

  get tunnels(): readonly TunnelNote[] {
    return this.#content.tunnels;
  }

  find({ id, end }: Pick<TunnelPlan, "id" | "end">): TunnelNote | undefined {
    return this.#content.tunnels.find((note) => note.id === id && note.end === end);
  }

  /** The last attempt of a gateway end that was closed; 0 where none was. */
  closedAttempt(id: string): number {
    return this.#content.closed.find((closed) => closed.id === id)?.attempt ?? 0;
  }

  put(note: TunnelNote): void {
    const others = this.#content.tunnels.filter(({ id, end }) => id !== note.id || end !== note.end);
    this.#write({ ...this.#content, tunnels: [...others, note] });
  }

  remove({ id, end }: Pick<TunnelPlan, "id" | "end">): void {
    const tunnels = this.#content.tunnels.filter((other) => other.id !== id || other.end !== end);
    this.#write({ ...this.#content, tunnels });
  }

  bury(id: string, attempt: number): void {
    const highest = Math.max(attempt, this.closedAttempt(id));
    const others = this.#content.closed.filter((closed) => closed.id !== id);
    this.#write({ ...this.#content, closed: [...others.slice(1 - CLOSED_MAX), { id, attempt: highest }] });
  }

  #write(content: Content): void {
    writeFileSync(`${this.#path}.new`, JSON.stringify(content), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
    this.#content = content;
  }
}
