/**
 * `state`: how a site holds the peering, and what it lends by it, whenever one of them changed. IQ set, repeated until it is
 * answered; a sequence that is not higher than the last one changes nothing. Namespace urn:muster:peering:1, version 1.
 */
import { z } from "zod";
import { lineSchema, uuidSchema } from "../ids.ts";
import { NS_PEERING } from "../namespaces.ts";
import { integer, line, nested, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { peerTermsFields, peerTermsSchema } from "./terms.ts";

const sequenceSchema = z.int().min(1).max(Number.MAX_SAFE_INTEGER);

export const saidStateSchema = z.enum(["active", "suspended", "draining", "left"]);
export type SaidState = z.output<typeof saidStateSchema>;

export const peerStateSchema = z.object({
  /** The invitation by which the peering came about: what was said under an earlier one does not count. */
  peering: uuidSchema,
  sequence: sequenceSchema,
  state: saidStateSchema,
  reason: lineSchema.optional(),
  /** What the sender lends from now on. */
  lend: peerTermsSchema,
});
export type PeerState = z.output<typeof peerStateSchema>;
export const peerStateMessage = defineMessage({
  name: "state",
  namespace: NS_PEERING,
  schema: peerStateSchema,
  fields: { peering: text, sequence: integer, state: text, reason: line, lend: nested(peerTermsFields) },
});

export const peerStateTakenSchema = z.object({ peering: uuidSchema, sequence: sequenceSchema });
export type PeerStateTaken = z.output<typeof peerStateTakenSchema>;
export const peerStateTakenMessage = defineMessage({
  name: "state-taken",
  namespace: NS_PEERING,
  schema: peerStateTakenSchema,
  fields: { peering: text, sequence: integer },
});
