/**
 * Which stored receipts whoever begins to lead has no need of: those that a stored book speaks for. They are let go as they are read, so
 * that a change of the lead takes no more memory however much was ever lent.
 */
import { type BookRecord, bookKey } from "@muster/broker";
import { ledgerSideSchema } from "@muster/protocol";
import { z } from "zod";

const count = z.int().min(0);
const bookRecordSchema = z.object({
  side: ledgerSideSchema,
  peer: z.string().min(1),
  upTo: z.int().min(0),
  totals: z.object({ receipts: count, open: count, disputed: count, amount: count, vcpuMs: count }),
}) satisfies z.ZodType<BookRecord>;

/** A stored book. One that is damaged speaks for nothing: its receipts are all counted again. */
export function bookRecordIn(key: string, value: unknown): BookRecord | undefined {
  if (!key.startsWith("book/")) return undefined;
  const read = bookRecordSchema.safeParse(value);
  return read.success && bookKey(read.data) === key ? read.data : undefined;
}

/** Records as they come in the order of their keys: books come before receipts. */
export class SettledReceipts {
  readonly #upTo = new Map<string, number>();

  /** Whether the record is to be kept. */
  keeps(key: string, value: unknown): boolean {
    const book = bookRecordIn(key, value);
    if (book !== undefined) this.#upTo.set(`${book.side}/${book.peer}`, book.upTo);
    const [kind, side, peer, sequence] = key.split("/");
    return kind !== "receipt" || Number(sequence) > (this.#upTo.get(`${side}/${peer}`) ?? 0);
  }
}
