/**
 * `notices`: what happened to attempts on a host, oldest first, sent by IQ set until the leader acknowledged them.
 * A later notice about the same VM supersedes an earlier one. Namespace urn:muster:notice:1, version 1.
 */
import { z } from "zod";
import { uuidSchema } from "../ids.ts";
import { NS_NOTICE } from "../namespaces.ts";
import { integer, nestedList, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { hostVmFields, hostVmSchema } from "./capacity.ts";

/** Most notices in one stanza: keeps it under 10 KB. */
export const NOTICES_MAX = 50;

export const noticeSchema = hostVmSchema.extend({ sequence: z.int().min(1) });
export type Notice = z.output<typeof noticeSchema>;

export const noticesSchema = z.object({ bootId: uuidSchema, notices: z.array(noticeSchema).min(1).max(NOTICES_MAX) });
export type Notices = z.output<typeof noticesSchema>;
export const noticesMessage = defineMessage({
  name: "notices",
  namespace: NS_NOTICE,
  schema: noticesSchema,
  fields: { bootId: text, notices: nestedList<Notice>("notice", { sequence: integer, ...hostVmFields }) },
});

/** The leader stored everything up to this sequence number: the host may drop it. */
export const noticesTakenSchema = z.object({ sequence: z.int().min(0) });
export type NoticesTaken = z.output<typeof noticesTakenSchema>;
export const noticesTakenMessage = defineMessage({
  name: "taken",
  namespace: NS_NOTICE,
  schema: noticesTakenSchema,
  fields: { sequence: integer },
});
