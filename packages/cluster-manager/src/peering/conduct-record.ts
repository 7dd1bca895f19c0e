/** How a peer has behaved, as the store holds it under `conduct/<domain>`. */
import { type Conduct, OFFENCES } from "@muster/broker";
import { z } from "zod";

const count = z.number().min(0);
const offenceSchema = z.enum(OFFENCES);

/** A peering of the configuration that was suspended or drained at run time: the configuration itself stays as it is. */
const haltSchema = z.object({
  state: z.enum(["suspended", "draining"]),
  reason: z.string().optional(),
  sinceMs: z.number(),
});
export type Halt = z.output<typeof haltSchema>;

export const conductRecordSchema = z.object({
  domain: z.string().min(1),
  kept: count,
  broken: count,
  promised: count,
  held: count,
  offences: z.object({ signature: count, malformed: count, flood: count, receipt: count }),
  last: z.object({ offence: offenceSchema, message: z.string(), atMs: z.number() }).optional(),
  graveAtMs: z.array(z.number()),
  halt: haltSchema.optional(),
});
export type ConductRecord = Conduct & { readonly halt?: Halt | undefined };
