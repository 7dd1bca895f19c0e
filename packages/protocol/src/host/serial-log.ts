/**
 * `serial-log`: the leader reads what a VM's serial console has said, a bounded part at a time: IQ get, answered at once.
 * Namespace urn:muster:serial-log:1, version 1.
 */
import { z } from "zod";
import { vmIdSchema } from "../ids.ts";
import { NS_SERIAL_LOG } from "../namespaces.ts";
import { integer, line, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";

/** Most bytes of one part: 8 KiB in base64, so that the stanza stays under 10 KB. */
export const SERIAL_LOG_BYTES_MAX = 6_144;

export const serialLogQuerySchema = z.object({
  vm: vmIdSchema,
  /** First byte that is wanted; absent: the last `max` ones. */
  offset: z.int().min(0).optional(),
  max: z.int().min(1).max(SERIAL_LOG_BYTES_MAX),
});
export type SerialLogQuery = z.output<typeof serialLogQuerySchema>;
export const serialLogQueryMessage = defineMessage({
  name: "query",
  namespace: NS_SERIAL_LOG,
  schema: serialLogQuerySchema,
  fields: { vm: text, offset: integer, max: integer },
});

export const serialLogPartSchema = z.object({
  /** Base64 of the bytes from `offset` on; empty where there are none yet. */
  data: z.base64().max(Math.ceil(SERIAL_LOG_BYTES_MAX / 3) * 4),
  /** Where `data` begins: an offset past the end is taken for the end, since a log may begin anew. */
  offset: z.int().min(0),
  /** Where to go on. */
  next: z.int().min(0),
  /** Bytes of the whole log now. */
  size: z.int().min(0),
});
export type SerialLogPart = z.output<typeof serialLogPartSchema>;
export const serialLogPartMessage = defineMessage({
  name: "part",
  namespace: NS_SERIAL_LOG,
  schema: serialLogPartSchema,
  fields: { data: line, offset: integer, next: integer, size: integer },
});
