import { z } from "zod";

/** The answer to `GET /v1/site/store`: what an admin has to know of the store, and to decide. */
export const storeViewSchema = z.object({
  term: z.int(),
  /** Where the records were put in place by a restore. */
  restore: z
    .object({
      /** `pending`: nothing is ordered or placed before every host was heard; `settled`: they were, and are followed. */
      state: z.enum(["pending", "settled"]),
      source: z.enum(["backup", "in-place"]),
      takenAt: z.iso.datetime(),
      restoredAt: z.iso.datetime(),
      /** Hosts that are waited for. */
      waitingFor: z.array(z.string()),
    })
    .optional(),
  /** Hosts that have obeyed a higher term: nothing is ordered or placed while there are any. */
  newerTerms: z.array(z.object({ host: z.string(), term: z.int() })),
  /** VMs alive on hosts where no record puts them: left alone, for an admin to decide. */
  strays: z.array(
    z.object({
      host: z.string(),
      vm: z.string(),
      attempt: z.int(),
      state: z.string(),
      /** What its host says of it, where it does. */
      name: z.string().optional(),
      project: z.string().optional(),
      owner: z.string().optional(),
      lease: z.string().optional(),
      peer: z.string().optional(),
    }),
  ),
});
export type StoreView = z.output<typeof storeViewSchema>;
