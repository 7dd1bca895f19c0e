/**
 * `move-step`: a borrower has the lender carry out a step of a live move between the two sites, at the host that has, or is to
 * have, its leased VM. Away: `prepare`, `finish`, `abandon`, under a lease whose hold said `incoming`. Home: `begin`, `perform`,
 * `cancel`, `confirm`, `resume`. IQ set between `cloud.` components; the same step of the same move has one effect, and asked
 * again tells how it stands. Namespace urn:muster:burst:1, version 1.
 */
import { z } from "zod";
import {
  moveCookieSchema,
  moveLinkFields,
  moveLinkSchema,
  moveStateFields,
  moveStateSchema,
  moveStepNeeds,
  moveStepSchema,
  moveXmlSchema,
} from "../host/move.ts";
import { termSchema, uuidSchema } from "../ids.ts";
import { NS_BURST } from "../namespaces.ts";
import { integer, line, nested, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";

export const peerMoveSchema = z
  .object({
    /** Of the exchange under which the VM runs, or is to run, at the lender. */
    id: uuidSchema,
    term: termSchema,
    /** Of the whole move, the same at both sites. */
    move: uuidSchema,
    step: moveStepSchema,
    link: moveLinkSchema.optional(),
    xml: moveXmlSchema.optional(),
    cookie: moveCookieSchema.optional(),
  })
  .superRefine((step, context) => {
    // What the VM is, the lender knows by the hold.
    for (const field of moveStepNeeds[step.step])
      if (field !== "subject" && step[field] === undefined)
        context.addIssue({ code: "custom", path: [field], message: `${step.step} needs its ${field}` });
  });
export type PeerMove = z.output<typeof peerMoveSchema>;
export const peerMoveMessage = defineMessage({
  name: "move-step",
  namespace: NS_BURST,
  schema: peerMoveSchema,
  fields: { id: text, term: integer, move: text, step: text, link: nested(moveLinkFields), xml: line, cookie: line },
});

/** How the step stands at the lender's host; the id in `state` is the move's. */
export const peerMovedSchema = z.object({ id: uuidSchema, state: moveStateSchema });
export type PeerMoved = z.output<typeof peerMovedSchema>;
export const peerMovedMessage = defineMessage({
  name: "move-stepped",
  namespace: NS_BURST,
  schema: peerMovedSchema,
  fields: { id: text, state: nested(moveStateFields) },
});
