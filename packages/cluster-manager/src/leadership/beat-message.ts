/**
 * What the managers of one site say to each other between their own components, `cm-<name>.<domain>`. IQ get `beat`: a
 * standby asks for a sign of life and is known thereby; IQ set `hand-over`: the leader has closed the store, take it.
 */
import { defineMessage, integer, text } from "@muster/protocol";
import { z } from "zod";

export const NS_LEADERSHIP = "urn:muster:leadership:1";
const nameSchema = z.string().min(1).max(64);

export const beatMessage = defineMessage({
  name: "beat",
  namespace: NS_LEADERSHIP,
  schema: z.object({ manager: nameSchema }),
  fields: { manager: text },
});

/** The answer to a beat: what the one that was asked takes itself for. */
const pulseSchema = z.object({
  role: z.enum(["leader", "standby"]),
  term: z.int().min(0),
  /** How long its process lately was busy in one go; a manager of an earlier version does not say. */
  lagMs: z.int().min(0).optional(),
});
export type Pulse = z.output<typeof pulseSchema>;
export const pulseMessage = defineMessage({
  name: "pulse",
  namespace: NS_LEADERSHIP,
  schema: pulseSchema,
  fields: { role: text, term: integer, lagMs: integer },
});

export const handOverMessage = defineMessage({
  name: "hand-over",
  namespace: NS_LEADERSHIP,
  schema: z.object({ manager: nameSchema, term: z.int().min(1) }),
  fields: { manager: text, term: integer },
});
