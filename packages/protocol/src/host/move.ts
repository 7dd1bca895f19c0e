/**
 * `move`: the leader steers the live migration of a VM from one host, the source, to another, the destination, step by step
 * as libvirt has them (https://libvirt.org/migration.html, "managed direct migration"). What one step yields is carried to
 * the next in stanzas; the memory and the disk go from host to host, over a connection that both secure with the key of
 * the link. IQ set, fenced by term (H1); the same step of the same move has one effect, and asked again tells how it
 * stands (H2). Namespace urn:muster:move:1, version 1.
 */
import { z } from "zod";
import { attemptSchema, lineSchema, termSchema, uuidSchema, vmIdSchema } from "../ids.ts";
import { NS_MOVE } from "../namespaces.ts";
import { type Fields, integer, line, nested, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { commandLeaseFields, commandLeaseSchema, commandSubjectSchema, subjectFields } from "./command.ts";

/** Longest time for which a host keeps the question about a step open. */
export const MOVE_WAIT_MS_MAX = 10_000;
/** Longest description of a domain, and longest cookie in base64: both together fit into a stanza (S2). */
const XML_LENGTH_MAX = 24_000;
const COOKIE_LENGTH_MAX = 24_000;

/**
 * At the source: `begin`; `perform` sends everything over and leaves the guest paused; then `confirm` (it runs at the
 * destination: nothing of it stays here) or `resume` (it never will: it goes on here). `cancel` ends a `perform`.
 * At the destination: `prepare`; then `finish` (it runs here from now on) or `abandon` (it never runs here, H5).
 */
export const moveStepSchema = z.enum([
  "begin",
  "prepare",
  "perform",
  "cancel",
  "finish",
  "abandon",
  "confirm",
  "resume",
]);
export type MoveStep = z.output<typeof moveStepSchema>;

export const moveXmlSchema = z.string().max(XML_LENGTH_MAX);
export const moveCookieSchema = z
  .string()
  .max(COOKIE_LENGTH_MAX)
  .regex(/^[A-Za-z0-9+/]*={0,2}$/, "must be base64");

/** Where the destination waits for the source, and the one-time key that both prove to have (TLS with a pre-shared key, RFC 8446). */
export const moveLinkSchema = z.object({
  address: z.union([z.ipv4(), z.ipv6()], "must be an IP address"),
  port: z.int().min(1).max(65_535),
  /** 32 bytes in base64url, good for this move only; never logged (S3). */
  key: z.string().regex(/^[A-Za-z0-9_-]{43}$/, "must be 32 bytes in base64url"),
});
export type MoveLink = z.output<typeof moveLinkSchema>;

/** At which of the two hosts each step is asked. */
export const MOVE_ROLES: Readonly<Record<MoveStep, "source" | "destination">> = {
  begin: "source",
  perform: "source",
  cancel: "source",
  confirm: "source",
  resume: "source",
  prepare: "destination",
  finish: "destination",
  abandon: "destination",
};

/** What each step cannot be asked without. */
export const moveStepNeeds: Readonly<Record<MoveStep, readonly ("subject" | "xml" | "cookie" | "link")[]>> = {
  begin: [],
  prepare: ["subject", "xml", "cookie"],
  perform: ["cookie", "link"],
  cancel: [],
  finish: [],
  abandon: [],
  confirm: [],
  resume: [],
};

export const moveSchema = z
  .object({
    /** Of the whole move, the same at both hosts. */
    id: uuidSchema,
    term: termSchema,
    step: moveStepSchema,
    vm: vmIdSchema,
    /** The attempt at the host that is asked: the destination's is the next one (H5). */
    attempt: attemptSchema,
    /** How long the host may keep the question open for a step that is under way. */
    waitMs: z.int().min(0).max(MOVE_WAIT_MS_MAX),
    subject: commandSubjectSchema.optional(),
    lease: commandLeaseSchema.optional(),
    link: moveLinkSchema.optional(),
    xml: moveXmlSchema.optional(),
    cookie: moveCookieSchema.optional(),
  })
  .superRefine((move, context) => {
    for (const field of moveStepNeeds[move.step])
      if (move[field] === undefined)
        context.addIssue({ code: "custom", path: [field], message: `${move.step} needs its ${field}` });
  });
export type Move = z.output<typeof moveSchema>;

export const moveLinkFields: Fields<MoveLink> = { address: text, port: integer, key: text };

export const moveMessage = defineMessage({
  name: "move",
  namespace: NS_MOVE,
  schema: moveSchema,
  fields: {
    id: text,
    term: integer,
    step: text,
    vm: text,
    attempt: integer,
    waitMs: integer,
    subject: nested(subjectFields),
    lease: nested(commandLeaseFields),
    link: nested(moveLinkFields),
    xml: line,
    cookie: line,
  },
});

/** How the move stands at the host that was asked. `failed` is final for the step, and says why. */
export const moveStageSchema = z.enum([
  "underway",
  "begun",
  "prepared",
  "performed",
  "finished",
  "abandoned",
  "confirmed",
  "resumed",
  "failed",
]);
export type MoveStage = z.output<typeof moveStageSchema>;

export const moveStateSchema = z.object({
  id: uuidSchema,
  stage: moveStageSchema,
  reason: lineSchema.optional(),
  /** What was sent over so far, memory and disk together. */
  doneMiB: z.int().min(0).optional(),
  totalMiB: z.int().min(0).optional(),
  address: z.string().max(64).optional(),
  link: moveLinkSchema.optional(),
  xml: moveXmlSchema.optional(),
  cookie: moveCookieSchema.optional(),
});
export type MoveState = z.output<typeof moveStateSchema>;

export const moveStateFields: Fields<MoveState> = {
  id: text,
  stage: text,
  doneMiB: integer,
  totalMiB: integer,
  address: text,
  reason: line,
  link: nested(moveLinkFields),
  xml: line,
  cookie: line,
};

export const moveStateMessage = defineMessage({
  name: "moved",
  namespace: NS_MOVE,
  schema: moveStateSchema,
  fields: moveStateFields,
});
