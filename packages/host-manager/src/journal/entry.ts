/** How the journal's content stands in a key-value store: one key a fact, values as JSON, checked when read back. */
import { decode, describeFaults, err, ok, type Result } from "@muster/base";
import {
  accessSchema,
  attemptSchema,
  commandOutcomeSchema,
  commandSubjectSchema,
  hostOperationSchema,
  hostVmStateSchema,
  lineSchema,
  type Notice,
  noticeSchema,
  operationResultSchema,
  refusalSchema,
  uuidSchema,
  vmIdSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { Change } from "../core/event.ts";
import { type AttemptRecord, EMPTY_HEAD, type Head, type JournalContent, type StoredAnswer } from "../core/state.ts";

const counter = z.int().min(0);
const headSchema = z.object({
  term: counter,
  opening: z.string().max(64).optional(),
  revision: counter,
  digest: z.string().max(64),
  noticeSequence: counter,
  answerOrder: counter,
});
const intentSchema = z.discriminatedUnion("action", [
  z.object({ action: z.enum(["stop", "suspend", "resume", "reboot", "delete"]), command: uuidSchema }),
  z.object({
    action: z.literal("operate"),
    command: uuidSchema,
    operation: z.union([hostOperationSchema, z.object({ kind: z.literal("cut-off") })]),
    tries: counter.optional(),
  }),
]);
const attemptRecordSchema = z.object({
  vm: vmIdSchema,
  attempt: attemptSchema,
  state: hostVmStateSchema,
  address: z.string().max(64).optional(),
  access: accessSchema.optional(),
  reason: lineSchema.optional(),
  subject: commandSubjectSchema.optional(),
  intent: intentSchema.optional(),
  voided: attemptSchema.optional(),
  tries: counter.optional(),
  machineBoot: z.string().max(64).optional(),
  lease: z.object({ machineBoot: z.string().max(64), atMs: z.number() }).optional(),
  move: z
    .object({ id: uuidSchema, role: z.enum(["source", "destination"]), finishing: z.boolean().optional() })
    .optional(),
  movesOver: z.array(uuidSchema).optional(),
  operation: operationResultSchema.optional(),
});
const storedAnswerSchema = z.object({
  id: uuidSchema,
  order: counter,
  digest: z.string().max(64),
  answer: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("outcome"), outcome: commandOutcomeSchema }),
    z.object({ kind: z.literal("refused"), refusal: refusalSchema }),
  ]),
});

export type Entry = { readonly key: string; readonly value: unknown };

/** The key of what a change is about; `value` is undefined where the key is to go. */
export function entryOf(change: Change): Entry {
  switch (change.kind) {
    case "head":
      return { key: "head", value: change.head };
    case "attempt":
      return { key: `vm/${change.vm}`, value: change.record };
    case "notice":
      return { key: `notice/${change.vm}`, value: change.notice };
    case "answer":
      return { key: `answer/${String(change.order).padStart(16, "0")}`, value: change.answer };
    case "leftover":
      return { key: `leftover/${change.vm}`, value: change.isLeft ? change.vm : undefined };
  }
}

/** Puts the content together; the message names the entry that is not what was written. */
export function contentOf(entries: Iterable<Entry>): Result<JournalContent, string> {
  const plain: Record<"heads" | "attempts" | "answers" | "notices" | "leftovers", unknown[]> = {
    heads: [],
    attempts: [],
    answers: [],
    notices: [],
    leftovers: [],
  };
  for (const { key, value } of entries) {
    const part = PARTS.find(({ prefix }) => key.startsWith(prefix));
    if (part === undefined) return err(`entry ${key.slice(0, 80)} is none of this version`);
    const decoded = decode(part.schema, value);
    if (!decoded.ok) return err(`entry ${key.slice(0, 80)}: ${describeFaults(decoded.error)}`);
    plain[part.list].push(decoded.value);
  }
  const [head] = plain.heads as Head[];
  return ok({
    head: head ?? EMPTY_HEAD,
    attempts: plain.attempts as AttemptRecord[],
    answers: plain.answers as StoredAnswer[],
    notices: plain.notices as Notice[],
    ...(plain.leftovers.length === 0 ? {} : { leftovers: plain.leftovers as string[] }),
  });
}

const PARTS = [
  { prefix: "head", list: "heads", schema: headSchema },
  { prefix: "vm/", list: "attempts", schema: attemptRecordSchema },
  { prefix: "answer/", list: "answers", schema: storedAnswerSchema },
  { prefix: "notice/", list: "notices", schema: noticeSchema },
  { prefix: "leftover/", list: "leftovers", schema: vmIdSchema },
] as const;
