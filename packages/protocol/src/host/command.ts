/**
 * `command`: the leader orders one thing of a host about one VM. IQ set; the answer says where the attempt stands now, at
 * once; what libvirt makes of it follows as a notice. Fenced by term (H1), one effect per id (H2).
 * Namespace urn:muster:command:1, version 1.
 */
import { z } from "zod";
import { LEASE_MS_MAX } from "../burst/hold.ts";
import {
  attemptSchema,
  lineSchema,
  requestIdSchema,
  siteDomainSchema,
  termSchema,
  uuidSchema,
  vmIdSchema,
} from "../ids.ts";
import { NS_COMMAND } from "../namespaces.ts";
import { vmSpecSchema } from "../vm-spec.ts";
import { hostVmStateSchema } from "../vm-state.ts";
import { type Fields, integer, line, nested, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { specFields } from "../xml/spec-fields.ts";
import { accessFields, accessSchema } from "./access.ts";
import { guestFields, guestSchema } from "./guest.ts";
import { hostOperationSchema, operationFields } from "./operation.ts";

/**
 * - `start`: start this attempt, once; needs `subject`. Also what starts a stopped VM of the same attempt again.
 * - `void`: promise never to start this attempt, unless it is started already (H5).
 * - `stop`: end the guest, keep the domain; `suspend`, `resume`, `reboot` as libvirt has them.
 * - `cut-off`: end the guest at once, without asking it.
 * - `operate`: do once what `operation` says; how that ended follows in the host's reports.
 * - `delete`: end and remove everything of this attempt.
 * - `settle`: the record is closed; the host may forget the attempt's tombstone.
 * - `renew`: the lease under which the VM runs goes on; needs `lease`.
 */
export const commandActionSchema = z.enum([
  "start",
  "void",
  "stop",
  "cut-off",
  "suspend",
  "resume",
  "reboot",
  "operate",
  "delete",
  "settle",
  "renew",
]);
export type CommandAction = z.output<typeof commandActionSchema>;

/** What a started VM is: written into the domain's metadata, so that a host can rebuild its list from libvirt alone. */
export const commandSubjectSchema = z.object({
  name: z.string().min(1).max(63),
  request: requestIdSchema,
  project: z.string().min(1).max(63),
  owner: z.string().min(1).max(63),
  /** Lease under which a peer's VM runs, and that peer. */
  lease: uuidSchema.optional(),
  peer: siteDomainSchema.optional(),
  spec: vmSpecSchema,
  /** Image and interfaces, where the VM is a real guest. */
  guest: guestSchema.optional(),
});
export type CommandSubject = z.output<typeof commandSubjectSchema>;

/**
 * How long a lent VM may run without another word of its leader (B4). The host counts it by its own clock, from the moment
 * in which it sent the report that is named: whatever is late on its way shortens the time and never lengthens it.
 */
export const commandLeaseSchema = z.object({
  /** The start of the host manager whose report it was. */
  bootId: uuidSchema,
  /** `sequence` of that report. */
  report: z.int().min(0),
  durationMs: z
    .int()
    .min(0)
    .max(2 * LEASE_MS_MAX),
});
export type CommandLease = z.output<typeof commandLeaseSchema>;

export const commandSchema = z
  .object({
    id: uuidSchema,
    term: termSchema,
    action: commandActionSchema,
    vm: vmIdSchema,
    attempt: attemptSchema,
    subject: commandSubjectSchema.optional(),
    /** With `start` and `renew` of a VM that runs under a peer's lease. */
    lease: commandLeaseSchema.optional(),
    /** With `operate`. */
    operation: hostOperationSchema.optional(),
  })
  .refine((command) => command.action !== "start" || command.subject !== undefined, {
    path: ["subject"],
    message: "a start needs its subject",
  })
  .refine((command) => command.action !== "renew" || command.lease !== undefined, {
    path: ["lease"],
    message: "a renewal needs the lease's duration",
  })
  .refine((command) => command.action !== "operate" || command.operation !== undefined, {
    path: ["operation"],
    message: "an operation must be named",
  });
export type Command = z.output<typeof commandSchema>;

export const subjectFields: Fields<CommandSubject> = {
  name: text,
  request: text,
  project: text,
  owner: text,
  lease: text,
  peer: text,
  spec: nested(specFields),
  guest: nested(guestFields),
};

export const commandLeaseFields: Fields<CommandLease> = { bootId: text, report: integer, durationMs: integer };

export const commandMessage = defineMessage({
  name: "command",
  namespace: NS_COMMAND,
  schema: commandSchema,
  fields: {
    id: text,
    term: integer,
    action: text,
    vm: text,
    attempt: integer,
    subject: nested(subjectFields),
    lease: nested(commandLeaseFields),
    operation: nested(operationFields),
  },
});

/** Where the attempt stands when the command was answered; the same answer for the same command id (H2). */
export const commandOutcomeSchema = z.object({
  id: uuidSchema,
  vm: vmIdSchema,
  attempt: attemptSchema,
  state: hostVmStateSchema,
  address: z.string().max(64).optional(),
  access: accessSchema.optional(),
  reason: lineSchema.optional(),
});
export type CommandOutcome = z.output<typeof commandOutcomeSchema>;
export const commandOutcomeMessage = defineMessage({
  name: "outcome",
  namespace: NS_COMMAND,
  schema: commandOutcomeSchema,
  fields: {
    id: text,
    vm: text,
    attempt: integer,
    state: text,
    address: text,
    access: nested(accessFields),
    reason: line,
  },
});
