/** The schemas of what the store holds: every record is decoded once, when the core is loaded (S1). */
import { decode, describeFaults } from "@muster/base";
import {
  type BorrowRecord,
  type LedgerRecord,
  type LendRecord,
  type MeterRecord,
  meterKey,
  receiptKey,
  type SpentRecord,
} from "@muster/broker";
import {
  accessSchema,
  burstChoiceSchema,
  drainPolicySchema,
  exchangeStageSchema,
  holdSchema,
  imageContentSchema,
  leaseStateSchema,
  leaseTunnelSchema,
  onNoticeSchema,
  refusalSchema,
  tunnelEndSchema,
  tunnelReachSchema,
  underlayEndSchema,
  unitPricesSchema,
  vmPhaseSchema,
  vmSpecSchema,
  wantedStateSchema,
} from "@muster/protocol";
import { z } from "zod";
import { type ImageRecord, imageRecordSchema } from "../images/image-record.ts";
import { ledgerRecordSchema, meterRecordSchema } from "../ledger/ledger-record-schema.ts";
import { leftoverSchema, lentMoveSchema, moveRecordSchema } from "../move/move-record.ts";
import { type NetworkRecord, networkRecordSchema, nicRecordSchema } from "../networks/network-record.ts";
import { operationRecordSchema, snapshotRecordSchema, volumeRecordSchema } from "../operations/operation-record.ts";
import { type ConductRecord, conductRecordSchema } from "../peering/conduct-record.ts";
import { MAINTENANCE_KEY, type MaintenanceRecord, maintenanceRecordSchema } from "../peering/maintenance.ts";
import {
  type PeerRecord,
  peerRecordSchema,
  SITE_KEY,
  type SiteKeyRecord,
  siteKeyRecordSchema,
} from "../peering/peer-record.ts";
import { type TunnelRecord, tunnelRecordSchema } from "../tunnels/tunnel-record.ts";
import type { HostRecord, RemovedRecord, RequestRecord, VmRecord } from "./records.ts";

/** A stored record that is none: the store was damaged or written by something else. Ends the start. */
export class CorruptRecordError extends Error {
  override readonly name = "CorruptRecordError";
  readonly key: string;

  constructor(key: string, faults: string) {
    super(`the stored record ${key} is damaged: ${faults}; restore the store from a backup or remove this record`);
    this.key = key;
  }
}

export type StoredRecord =
  | { readonly kind: "request"; readonly record: RequestRecord }
  | { readonly kind: "vm"; readonly record: VmRecord }
  | { readonly kind: "host"; readonly record: HostRecord }
  | { readonly kind: "removed"; readonly record: RemovedRecord }
  | { readonly kind: "image"; readonly record: ImageRecord }
  | { readonly kind: "network"; readonly record: NetworkRecord }
  | { readonly kind: "peer"; readonly record: PeerRecord }
  | { readonly kind: "conduct"; readonly record: ConductRecord }
  | { readonly kind: "maintenance"; readonly record: MaintenanceRecord }
  | { readonly kind: "site-key"; readonly record: SiteKeyRecord }
  | { readonly kind: "lend"; readonly record: LendRecord }
  | { readonly kind: "borrow"; readonly record: BorrowRecord }
  | { readonly kind: "spent"; readonly record: SpentRecord }
  | { readonly kind: "tunnel"; readonly record: TunnelRecord }
  | { readonly kind: "receipt"; readonly record: LedgerRecord }
  | { readonly kind: "meter"; readonly record: MeterRecord };

const requestRecordSchema = z.object({
  id: z.string().min(1),
  digest: z.string(),
  user: z.string(),
  project: z.string(),
  vms: z.array(z.string()),
  acceptedAtMs: z.number(),
}) satisfies z.ZodType<RequestRecord>;

const placeSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("none") }),
  z.object({ kind: z.literal("host"), host: z.string(), startedOn: z.enum(["ordered", "confirmed"]) }),
  z.object({ kind: z.literal("peer"), peer: z.string(), exchange: z.string() }),
]);

const originSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("local") }),
  z.object({ kind: z.literal("peer"), peer: z.string(), exchange: z.string() }),
]);

const vmRecordSchema = z.object({
  id: z.string().min(1),
  name: z.string(),
  request: z.string(),
  project: z.string(),
  user: z.string(),
  spec: vmSpecSchema,
  priority: z.int(),
  burst: burstChoiceSchema,
  leaseMs: z.number(),
  maxPricePerHour: z.number().optional(),
  onNotice: onNoticeSchema.optional(),
  origin: originSchema,
  phase: vmPhaseSchema,
  wanted: wantedStateSchema,
  place: placeSchema,
  attempt: z.int().min(0),
  queueOrder: z.number(),
  createdAtMs: z.number(),
  changedAtMs: z.number(),
  expiresAtMs: z.number().optional(),
  address: z.string().optional(),
  access: accessSchema.optional(),
  imageDigest: z.string().optional(),
  nics: z.array(nicRecordSchema).optional(),
  reason: z.string().optional(),
  refusal: refusalSchema.optional(),
  failures: z.int().min(0).optional(),
  attemptFloor: z.int().min(0).optional(),
  notBeforeMs: z.number().optional(),
  move: moveRecordSchema.optional(),
  leftover: leftoverSchema.optional(),
  lentMove: lentMoveSchema.optional(),
  heldBack: z.literal(true).optional(),
  evicted: z.boolean().optional(),
  force: z.boolean().optional(),
  operations: z.array(operationRecordSchema).optional(),
  snapshots: z.array(snapshotRecordSchema).optional(),
  volumes: z.array(volumeRecordSchema).optional(),
  saved: z.boolean().optional(),
  tunnel: tunnelReachSchema.optional(),
}) satisfies z.ZodType<VmRecord>;

const hostRecordSchema = z.object({
  name: z.string().min(1),
  enrolledAtMs: z.number(),
  draining: z.boolean(),
  drainPolicy: drainPolicySchema.optional(),
  fenced: z.boolean(),
  notices: z.object({ bootId: z.string(), sequence: z.number() }).optional(),
  joined: z.boolean().optional(),
  underlay: underlayEndSchema.optional(),
  gateway: z.boolean().optional(),
}) satisfies z.ZodType<HostRecord>;

const removedRecordSchema = z.object({
  name: z.string().min(1),
  atMs: z.number(),
}) satisfies z.ZodType<RemovedRecord>;

const leasedVmPhase = leaseStateSchema.shape.vm;

const lendRecordSchema = z.looseObject({
  id: z.string(),
  peer: z.string(),
  digest: z.string(),
  stage: exchangeStageSchema,
  revision: z.int(),
  term: z.number().optional(),
  hold: holdSchema.optional(),
  refusal: refusalSchema.optional(),
  wanted: z.enum(["running", "paused", "stopped"]).optional(),
  leaseMs: z.number(),
  expiresAtMs: z.number(),
  renewals: z.int(),
  vmPhase: leasedVmPhase,
  address: z.string().optional(),
  access: accessSchema.optional(),
  reason: z.string().optional(),
  changedAtMs: z.number(),
  leasedAtMs: z.number().optional(),
  prices: unitPricesSchema.optional(),
  endsAtMs: z.number().optional(),
  endReason: z.string().optional(),
  endsFor: z.string().optional(),
  approval: z.object({ state: z.enum(["pending", "approved", "denied"]), untilMs: z.number() }).optional(),
  used: z.object({ sinceMs: z.number(), vmMs: z.number() }).optional(),
  tunnel: leaseTunnelSchema.optional(),
  tunnelEnd: tunnelEndSchema.optional(),
}) satisfies z.ZodType<LendRecord>;

const borrowTunnelSchema = leaseTunnelSchema.omit({ end: true }).extend({
  reach: tunnelReachSchema,
  own: tunnelEndSchema.optional(),
  other: tunnelEndSchema.optional(),
});

const borrowRecordSchema = z.looseObject({
  id: z.string(),
  peer: z.string(),
  vm: z.string(),
  name: z.string(),
  project: z.string(),
  owner: z.string(),
  spec: vmSpecSchema,
  digest: z.string(),
  stage: z.enum(["holding", "leasing", "leased", "releasing", "closed"]),
  wanted: z.enum(["running", "paused", "stopped", "released"]),
  leaseMs: z.number(),
  expiresAtMs: z.number(),
  overAtMs: z.number().optional(),
  renewals: z.int(),
  revision: z.int(),
  vmPhase: leasedVmPhase,
  address: z.string().optional(),
  access: accessSchema.optional(),
  reason: z.string().optional(),
  changedAtMs: z.number(),
  leasedAtMs: z.number().optional(),
  prices: unitPricesSchema.optional(),
  maxPricePerHour: z.number().optional(),
  endsAtMs: z.number().optional(),
  endReason: z.string().optional(),
  endedByLender: z.boolean().optional(),
  awaitsApproval: z.boolean().optional(),
  ran: z.boolean().optional(),
  tunnel: borrowTunnelSchema.optional(),
  image: imageContentSchema.optional(),
}) satisfies z.ZodType<BorrowRecord>;

const spentRecordSchema = z.object({
  project: z.string().min(1),
  sinceMs: z.number(),
  amount: z.number().min(0),
}) satisfies z.ZodType<SpentRecord>;

/**
 * Reads one stored record by its key; `undefined` for kinds that are not the core's.
 * Throws `CorruptRecordError` naming the key where the content does not fit the kind.
 */
export function decodeRecord(key: string, value: unknown): StoredRecord | undefined {
  const kind = key.slice(0, key.indexOf("/"));
  switch (kind) {
    case "request": {
      const record = checked(key, requestRecordSchema, value);
      return { kind, record: named(key, `request/${record.id}`, record) };
    }
    case "vm": {
      const record = checked(key, vmRecordSchema, value);
      return { kind, record: named(key, `vm/${record.id}`, record) };
    }
    case "host": {
      const record = checked(key, hostRecordSchema, value);
      return { kind, record: named(key, `host/${record.name}`, record) };
    }
    case "removed": {
      const record = checked(key, removedRecordSchema, value);
      return { kind, record: named(key, `removed/${record.name}`, record) };
    }
    case "image": {
      const record = checked(key, imageRecordSchema, value);
      return { kind, record: named(key, `image/${record.digest}`, record) };
    }
    case "network": {
      const record = checked(key, networkRecordSchema, value);
      return { kind, record: named(key, `network/${record.name}`, record) };
    }
    case "peer": {
      const record = checked(key, peerRecordSchema, value);
      return { kind, record: named(key, `peer/${record.domain}`, record) };
    }
    case "conduct": {
      const record = checked(key, conductRecordSchema, value);
      return { kind, record: named(key, `conduct/${record.domain}`, record) };
    }
    case "maintenance":
      return { kind, record: named(key, MAINTENANCE_KEY, checked(key, maintenanceRecordSchema, value)) };
    case "site-key":
      return { kind, record: named(key, SITE_KEY, checked(key, siteKeyRecordSchema, value)) };
    case "lend": {
      const record = checked(key, lendRecordSchema, value);
      return { kind, record: named(key, `lend/${record.peer}/${record.id}`, record) };
    }
    case "borrow": {
      const record = checked(key, borrowRecordSchema, value);
      return { kind, record: named(key, `borrow/${record.peer}/${record.id}`, record) };
    }
    case "receipt": {
      const record = checked(key, ledgerRecordSchema, value);
      return { kind, record: named(key, receiptKey(record), record) };
    }
    case "meter": {
      const record = checked(key, meterRecordSchema, value);
      return { kind, record: named(key, meterKey(record), record) };
    }
    case "tunnel": {
      const record = checked(key, tunnelRecordSchema, value);
      return { kind, record: named(key, `tunnel/${record.id}`, record) };
    }
    case "spent": {
      const record = checked(key, spentRecordSchema, value);
      return { kind, record: named(key, `spent/${record.project}`, record) };
    }
    default:
      return undefined;
  }
}

function checked<Schema extends z.ZodType>(key: string, schema: Schema, value: unknown): z.output<Schema> {
  const decoded = decode(schema, value);
  if (!decoded.ok) throw new CorruptRecordError(key, describeFaults(decoded.error));
  return decoded.value;
}

/** A record under a key that is not its own would be two records after its next change. */
function named<Value>(key: string, ownKey: string, record: Value): Value {
  if (key !== ownKey) throw new CorruptRecordError(key, `its content belongs under ${ownKey}`);
  return record;
}
