/** Messages of etcd's JSON gateway (etcd.io/docs/v3.4/dev-guide/api_grpc_gateway): bytes are base64, int64 are strings. */
import { z } from "zod";

/** Absent where it is 0. */
const int64 = z
  .union([z.string().regex(/^-?\d{1,19}$/), z.int()])
  .default(0)
  .transform(Number);
const bytes = z
  .string()
  .default("")
  .transform((text) => Buffer.from(text, "base64").toString("utf8"));

const headerSchema = z
  .object({ cluster_id: z.string().default(""), revision: int64, raft_term: int64 })
  .transform((header) => ({
    clusterId: header.cluster_id,
    revision: header.revision,
    raftTerm: header.raft_term,
  }));

const keyValueSchema = z
  .object({ key: bytes, value: bytes, mod_revision: int64 })
  .transform(({ key, value, mod_revision }) => ({ key, value, modRevision: mod_revision }));

/** One stored key at the revision that last changed it. */
export type KeyValue = z.output<typeof keyValueSchema>;
export type EtcdHeader = z.output<typeof headerSchema>;

export const rangeAnswerSchema = z.object({
  header: headerSchema,
  kvs: z.array(keyValueSchema).default([]),
  more: z.boolean().default(false),
});
export type RangeAnswer = z.output<typeof rangeAnswerSchema>;

export const txnAnswerSchema = z.object({
  header: headerSchema,
  succeeded: z.boolean().default(false),
  responses: z
    .array(z.object({ response_range: z.object({ kvs: z.array(keyValueSchema).default([]) }).optional() }))
    .default([]),
});

export const leaseAnswerSchema = z.object({ ID: z.string().default("0"), TTL: int64 });
export const keepAliveAnswerSchema = z.object({ result: leaseAnswerSchema });
export const tokenAnswerSchema = z.object({ token: z.string().min(1).max(65_536) });
export const versionAnswerSchema = z.object({ etcdserver: z.string().max(64) });
/** What one member says of itself. `leader` is "0" while it knows of none; `errors` names alarms, NOSPACE among them. */
export const statusAnswerSchema = z
  .object({
    version: z.string().max(64).default(""),
    dbSize: int64,
    leader: z.string().max(32).default("0"),
    raftIndex: int64,
    errors: z.array(z.string().max(1_000)).max(100).default([]),
  })
  .transform(({ version, dbSize, leader, raftIndex, errors }) => ({
    version,
    sizeBytes: dbSize,
    hasLeader: leader !== "0",
    raftIndex,
    errors,
  }));
export type MemberStatus = z.output<typeof statusAnswerSchema>;
export const errorAnswerSchema = z.object({
  error: z.string().optional(),
  message: z.string().optional(),
  code: z.int().optional(),
});

const eventSchema = z.object({ type: z.enum(["PUT", "DELETE"]).default("PUT"), kv: keyValueSchema });
export type EtcdEvent = z.output<typeof eventSchema>;

export const watchLineSchema = z.object({
  result: z
    .object({
      header: headerSchema,
      created: z.boolean().default(false),
      canceled: z.boolean().default(false),
      compact_revision: int64,
      cancel_reason: z.string().default(""),
      fragment: z.boolean().default(false),
      events: z.array(eventSchema).default([]),
    })
    .optional(),
  error: z.looseObject({ message: z.string().default("") }).optional(),
});

export type EtcdCompare = { readonly key: string; readonly modRevision: number };

export type EtcdOperation =
  | { readonly kind: "put"; readonly key: string; readonly value: string; readonly lease?: string }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "delete-prefix"; readonly prefix: string }
  | { readonly kind: "get"; readonly key: string };

export type EtcdTxn = {
  /** All must hold, for `success`; if not, `failure` is carried out. Revision 0: the key does not exist. */
  readonly compare: readonly EtcdCompare[];
  readonly success: readonly EtcdOperation[];
  readonly failure?: readonly EtcdOperation[];
};

export type RangeQuery = {
  /** First key. */
  readonly from: string;
  /** All keys with this prefix, from `from` on; without it, `from` alone. */
  readonly prefix?: string;
  readonly limit?: number;
  /** Read as of this revision. */
  readonly revision?: number;
};

export function encodeTxn({ compare, success, failure = [] }: EtcdTxn): object {
  return {
    compare: compare.map(({ key, modRevision }) => ({
      key: base64(key),
      target: "MOD",
      result: "EQUAL",
      mod_revision: String(modRevision),
    })),
    success: success.map(encodeOperation),
    failure: failure.map(encodeOperation),
  };
}

export function encodeRange({ from, prefix, limit, revision }: RangeQuery): object {
  return {
    key: base64(from),
    ...(prefix === undefined ? {} : { range_end: endOf(prefix) }),
    ...(limit === undefined ? {} : { limit: String(limit) }),
    ...(revision === undefined ? {} : { revision: String(revision) }),
  };
}

export function encodeWatch(prefix: string, fromRevision: number): object {
  return {
    create_request: {
      key: base64(prefix),
      range_end: endOf(prefix),
      start_revision: String(fromRevision),
      fragment: true,
    },
  };
}

function encodeOperation(operation: EtcdOperation): object {
  switch (operation.kind) {
    case "put": {
      const { key, value, lease } = operation;
      return {
        request_put: { key: base64(key), value: base64(value), ...(lease === undefined ? {} : { lease }) },
      };
    }
    case "delete":
      return { request_delete_range: { key: base64(operation.key) } };
    case "delete-prefix":
      return { request_delete_range: { key: base64(operation.prefix), range_end: endOf(operation.prefix) } };
    case "get":
      return { request_range: { key: base64(operation.key) } };
  }
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

/** The first key after all with the prefix. UTF-8 has no byte 255, so that one more never overflows. */
function endOf(prefix: string): string {
  const bytesOf = Buffer.from(prefix, "utf8");
  const last = bytesOf.length - 1;
  bytesOf[last] = (bytesOf[last] ?? 0) + 1;
  return bytesOf.toString("base64");
}

/** `undefined` where it is no JSON. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
