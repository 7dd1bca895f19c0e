/**
 * `succession`: a site's next key, signed by the one that is pinned. IQ set, repeated until it is answered. The same again
 * gets the same answer; a sequence that is not higher is refused otherwise. Namespace urn:muster:peering:1, version 1.
 */
import { z } from "zod";
import { uuidSchema } from "../ids.ts";
import { NS_PEERING } from "../namespaces.ts";
import { integer, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { keySequenceSchema, sitePublicKeySchema } from "./site-key.ts";

/** Longest time for which the key before is still accepted. */
export const KEY_OVERLAP_MS_MAX = 30 * 24 * 3_600_000;

export const successionSchema = z.object({
  /** The invitation by which the peering came about. */
  peering: uuidSchema,
  key: sitePublicKeySchema,
  keySequence: keySequenceSchema,
  /** For how long what the key before signed is to be accepted, from the receipt on. */
  overlapMs: z.int().min(0).max(KEY_OVERLAP_MS_MAX),
});
export type Succession = z.output<typeof successionSchema>;
export const successionMessage = defineMessage({
  name: "succession",
  namespace: NS_PEERING,
  schema: successionSchema,
  fields: { peering: text, key: text, keySequence: integer, overlapMs: integer },
});

export const successionTakenSchema = z.object({ peering: uuidSchema, keySequence: keySequenceSchema });
export type SuccessionTaken = z.output<typeof successionTakenSchema>;
export const successionTakenMessage = defineMessage({
  name: "succession-taken",
  namespace: NS_PEERING,
  schema: successionTakenSchema,
  fields: { peering: text, keySequence: integer },
});
