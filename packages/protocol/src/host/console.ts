/**
 * `console`: a user at a guest's console, by way of the leader. IQ set, answered with what the guest wrote meanwhile. The host
 * keeps the session, so that it outlives a change of leader; one that nobody asks for ends by itself.
 * Namespace urn:muster:console:1, version 1.
 */
import { z } from "zod";
import { uuidSchema, vmIdSchema } from "../ids.ts";
import { NS_CONSOLE } from "../namespaces.ts";
import { flag, integer, line, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";

/** Most bytes one message carries: with base64 a stanza stays under 10 KB. */
export const CONSOLE_BYTES_MAX = 6_144;
/** Longest time for which a host waits for output before it answers with none. */
export const CONSOLE_WAIT_MS_MAX = 2_000;

const data = z.base64().max(Math.ceil(CONSOLE_BYTES_MAX / 3) * 4);

/** `open` begins a session, `force` taking the console from whoever is at it; `input` types; `output` reads; `close` leaves. */
export const consoleActionSchema = z.enum(["open", "input", "output", "close"]);

export const consoleOrderSchema = z.object({
  session: uuidSchema,
  vm: vmIdSchema,
  action: consoleActionSchema,
  force: z.boolean().optional(),
  /** Counts the inputs, and the outputs, of a session from 1: one that is said again is not typed again, nor lost. */
  sequence: z.int().min(0),
  data: data.optional(),
  waitMs: z.int().min(0).max(CONSOLE_WAIT_MS_MAX).optional(),
});
export type ConsoleOrder = z.output<typeof consoleOrderSchema>;
export const consoleOrderMessage = defineMessage({
  name: "order",
  namespace: NS_CONSOLE,
  schema: consoleOrderSchema,
  fields: { session: text, vm: text, action: text, force: flag, sequence: integer, data: line, waitMs: integer },
});

export const consoleStateSchema = z.object({
  session: uuidSchema,
  /** Whether the console is still there: it ends with the guest, or is taken by somebody else. */
  open: z.boolean(),
  data,
});
export type ConsoleState = z.output<typeof consoleStateSchema>;
export const consoleStateMessage = defineMessage({
  name: "state",
  namespace: NS_CONSOLE,
  schema: consoleStateSchema,
  fields: { session: text, open: flag, data: line },
});

/** Body of `POST /v1/vms/{id}/console`: the same without the VM, which the path names. */
export const consoleRequestSchema = z.strictObject({
  session: uuidSchema,
  action: consoleActionSchema,
  force: z.boolean().optional(),
  sequence: z.int().min(0).default(0),
  data: data.optional(),
  waitMs: z.int().min(0).max(CONSOLE_WAIT_MS_MAX).optional(),
});
export type ConsoleRequest = z.input<typeof consoleRequestSchema>;
