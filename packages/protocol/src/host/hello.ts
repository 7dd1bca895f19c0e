/**
 * `hello`: a new leader announces its term to a host it knows; the host stores the term and answers who it is (L4, H1).
 * IQ set; the full list of attempts follows by `inventory`. Namespace urn:muster:hello:1, version 1.
 */
import { z } from "zod";
import { termSchema, uuidSchema } from "../ids.ts";
import { NS_HELLO } from "../namespaces.ts";
import { integer, nested, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { underlayListFields, underlayListSchema } from "./underlay.ts";

export const helloSchema = z.object({
  term: termSchema,
  manager: z.string().max(64),
  /** Made anew at each beginning of a leadership: a term that comes with another one was given out twice (L1). */
  opening: uuidSchema.optional(),
  /** Where the tunnels of the site's hosts end, as far as the leader knows it. */
  underlay: underlayListSchema.optional(),
});
export type Hello = z.output<typeof helloSchema>;
export const helloMessage = defineMessage({
  name: "hello",
  namespace: NS_HELLO,
  schema: helloSchema,
  fields: { term: integer, manager: text, opening: text, underlay: nested(underlayListFields) },
});

/** The host's answer: the term it now obeys, and which start of it speaks. */
export const welcomeSchema = z.object({ term: termSchema, bootId: uuidSchema });
export type Welcome = z.output<typeof welcomeSchema>;
export const welcomeMessage = defineMessage({
  name: "welcome",
  namespace: NS_HELLO,
  schema: welcomeSchema,
  fields: { term: integer, bootId: text },
});
