import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { decode, describeFaults, err, ok, type Result } from "@muster/base";
import { guestNicSchema, vmIdSchema } from "@muster/protocol";
import { z } from "zod";

const useSchema = z.object({
  vm: vmIdSchema,
  nic: guestNicSchema,
  /** Port of the host that was picked to lead to the guest's ssh. */
  port: z.int().min(1).max(65_535).optional(),
});

/** That a VM's interface uses what the host made for it. */
export type NicUse = z.output<typeof useSchema>;

const fileSchema = z.object({ uses: z.array(useSchema) });

/** Which VM uses what, kept in a file: written before anything is made, so that a crash leaves nothing that no note tells of. */
export class UsesFile {
  readonly #path: string;
  #uses: readonly NicUse[];

  private constructor(path: string, uses: readonly NicUse[]) {
    this.#path = path;
    this.#uses = uses;
  }

  /** The error says what to do with a file that cannot be read. */
  static open(path: string): Result<UsesFile, string> {
    if (!existsSync(path)) return ok(new UsesFile(path, []));
    try {
      const read = decode(fileSchema, JSON.parse(readFileSync(path, "utf8")));
      if (read.ok) return ok(new UsesFile(path, read.value.uses));
      return err(`${path} is not what this host manager wrote: ${describeFaults(read.error)}; move it away`);
    } catch (cause) {
      return err(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}; move it away`);
    }
  }

  get uses(): readonly NicUse[] {
    return this.#uses;
  }

  add(use: NicUse): void {
    this.#write([...this.#uses, use]);
  }

  remove(use: NicUse): void {
    this.#write(this.#uses.filter((other) => other !== use));
  }

  #write(uses: readonly NicUse[]): void {
    writeFileSync(`${this.#path}.new`, JSON.stringify({ uses }), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
    this.#uses = uses;
  }
}
