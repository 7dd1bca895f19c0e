/** VMs and requests as the HTTP API and the command line show them. */
import { z } from "zod";
import { accessSchema } from "../host/access.ts";
import { imageDigestSchema, projectNameSchema, requestIdSchema, vmIdSchema, vmNameSchema } from "../ids.ts";
import { vmSpecSchema } from "../vm-spec.ts";
import { vmPhaseSchema, wantedStateSchema } from "../vm-state.ts";
import { moveViewSchema } from "./move.ts";
import { nicViewSchema } from "./network.ts";
import { operationViewSchema, snapshotViewSchema, volumeViewSchema } from "./operation.ts";

/** Most VMs that one request may ask for (S2). */
export const REQUEST_VMS_MAX = 100;

/** Whether the request may, or must, run at a peer. */
export const burstChoiceSchema = z.enum(["never", "allow", "only"]);
export type BurstChoice = z.output<typeof burstChoiceSchema>;

/** What becomes of a VM at a peer that wants its room back: see `docs/admin/lending.md`. */
export const onNoticeSchema = z.enum(["extend", "save", "stop"]);
export type OnNotice = z.output<typeof onNoticeSchema>;

/** Body of `POST /v1/vms`. The request id comes as `Idempotency-Key`. */
export const vmCreateSchema = z.strictObject({
  name: vmNameSchema,
  /** With a count above one the VMs are called `name-1`, `name-2`, … */
  count: z.int().min(1).max(REQUEST_VMS_MAX).default(1),
  project: projectNameSchema.default("default"),
  spec: vmSpecSchema,
  /** 0 to 9; higher goes first, then the older. */
  priority: z.int().min(0).max(9).default(5),
  burst: burstChoiceSchema.default("never"),
  /** How long the request may wait in the queue; absent: as long as it takes. */
  expiresAfterMs: z
    .int()
    .min(1_000)
    .max(30 * 24 * 3_600_000)
    .optional(),
  /** Lease to ask of a peer at a time; renewed as long as the VM is wanted. */
  leaseMs: z
    .int()
    .min(2_000)
    .max(7 * 24 * 3_600_000)
    .default(300_000),
  /** The most that an hour of each VM may cost at a peer, in thousandths of the unit of prices; absent: any price. */
  maxPricePerHour: z.int().min(0).max(1_000_000_000).optional(),
  /** When a peer wants its room back; absent: as the project has it, else `extend`. */
  onNotice: onNoticeSchema.optional(),
});
export type VmCreate = z.output<typeof vmCreateSchema>;
export type VmCreateInput = z.input<typeof vmCreateSchema>;

/** Where a VM is: nowhere yet, on a host of this site, or at a peer under a lease. */
export const placeViewSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("none") }),
  z.object({ kind: z.literal("host"), host: z.string() }),
  z.object({ kind: z.literal("peer"), peer: z.string(), lease: z.string() }),
]);

/** For whom it runs: a user of this site, or a peer that leased it. */
export const originViewSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("local") }),
  z.object({ kind: z.literal("peer"), peer: z.string(), lease: z.string() }),
]);

export const vmViewSchema = z.object({
  id: vmIdSchema,
  name: z.string(),
  request: requestIdSchema,
  project: z.string(),
  user: z.string(),
  phase: vmPhaseSchema,
  wanted: wantedStateSchema,
  place: placeViewSchema,
  origin: originViewSchema,
  attempt: z.int(),
  spec: vmSpecSchema,
  priority: z.int(),
  burst: burstChoiceSchema,
  /** As its host says it; before that, as reserved for it. */
  address: z.string().optional(),
  /** Where its ssh is reached from outside, where it is behind its host's address. */
  access: accessSchema.optional(),
  /** The image that its tag stood for when the request was accepted. */
  imageDigest: imageDigestSchema.optional(),
  /** Its interfaces, where it is a real guest at this site. */
  nics: z.array(nicViewSchema).optional(),
  /** Where it is being moved alive, and how far that is. */
  move: moveViewSchema.optional(),
  /** What was asked of it last beyond starting and stopping, and what came of it. */
  operation: operationViewSchema.optional(),
  snapshots: z.array(snapshotViewSchema).optional(),
  /** Disks beside its first one. */
  volumes: z.array(volumeViewSchema).optional(),
  /** One line: why it is where it is. */
  reason: z.string().optional(),
  createdAt: z.iso.datetime(),
  changedAt: z.iso.datetime(),
});
export type VmView = z.output<typeof vmViewSchema>;

export const requestViewSchema = z.object({ request: requestIdSchema, term: z.int(), vms: z.array(vmViewSchema) });
export type RequestView = z.output<typeof requestViewSchema>;

/** `POST /v1/vms/{id}/{action}`. */
export const vmActionSchema = z.enum(["start", "stop", "suspend", "resume", "reboot"]);
export type VmAction = z.output<typeof vmActionSchema>;

/** One candidate and why it was not taken, or how it scored (P4). */
export const candidateViewSchema = z.object({
  kind: z.enum(["host", "peer"]),
  name: z.string(),
  verdict: z.enum(["chosen", "possible", "refused"]),
  /** Machine reason where refused: `lacks-vcpus`, `draining`, `suspect`, … */
  reason: z.string().optional(),
  message: z.string(),
  score: z.number().optional(),
  /** Of a peer that asks for money: thousandths for an hour of it. */
  pricePerHour: z.int().optional(),
});
export type CandidateView = z.output<typeof candidateViewSchema>;

/** `GET /v1/vms/{id}/why` and the answer to a dry run: what stands in the way, or what was decided. */
export const explanationSchema = z.object({
  vm: z.string(),
  phase: z.string(),
  /** One sentence for the whole. */
  summary: z.string(),
  /** Place in the queue, from 1, where it waits. */
  position: z.int().optional(),
  candidates: z.array(candidateViewSchema),
});
export type Explanation = z.output<typeof explanationSchema>;
