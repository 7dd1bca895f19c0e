import { array, type Fields, hyper, type InferFields, int, type Schema, struct, uhyper, uint } from "../xdr/schema.ts";
import { domain, Limit, maybeText, name, network, params, pool } from "./fields.ts";

/** Which of the daemon's registries an event belongs to, and so which procedure registers for it. */
export type EventSource = "domain" | "network" | "pool";

/** One kind of event: the id to register for it, and the message it arrives as. */
export interface EventKind<Body> {
  readonly name: string;
  readonly source: EventSource;
  readonly id: number;
  readonly number: number;
  readonly body: Schema<Body>;
}

interface Row<F extends Fields> {
  readonly source: EventSource;
  readonly id: number;
  readonly number: number;
  readonly fields: F;
}

type Kinds<R extends Readonly<Record<string, Row<Fields>>>> = {
  readonly [K in keyof R]: EventKind<InferFields<R[K]["fields"]>>;
};

function row(source: EventSource) {
  return <const F extends Fields>(id: number, number: number, fields: F): Row<F> => ({ source, id, number, fields });
}

function kinds<const R extends Readonly<Record<string, Row<Fields>>>>(rows: R): Kinds<R> {
  const entries = Object.entries(rows).map(([name, { source, id, number, fields }]) => [
    name,
    { name, source, id, number, body: struct(fields) },
  ]);
  return Object.fromEntries(entries) as Kinds<R>;
}

const ofDomain = row("domain");
const ofNetwork = row("network");
const ofPool = row("pool");
const callbackId = int;
const address = struct({ family: int, node: name, service: name });
const identities = array(struct({ type: name, name }), 20);

/** Every event this library can subscribe to: `virDomainEventID` and its siblings, with the message of each. */
export const eventKinds = kinds({
  "domain.lifecycle": ofDomain(0, 318, { callbackId, domain, event: int, detail: int }),
  "domain.reboot": ofDomain(1, 319, { callbackId, domain }),
  "domain.rtcChange": ofDomain(2, 320, { callbackId, domain, offsetS: hyper }),
  "domain.watchdog": ofDomain(3, 321, { callbackId, domain, action: int }),
  "domain.ioError": ofDomain(4, 322, { callbackId, domain, path: name, device: name, action: int }),
  "domain.graphics": ofDomain(5, 323, {
    callbackId,
    domain,
    phase: int,
    local: address,
    remote: address,
    authScheme: name,
    subject: identities,
  }),
  "domain.ioErrorReason": ofDomain(6, 324, { callbackId, domain, path: name, device: name, action: int, reason: name }),
  "domain.controlError": ofDomain(7, 325, { callbackId, domain }),
  "domain.blockJob": ofDomain(8, 326, { callbackId, domain, path: name, type: int, status: int }),
  "domain.diskChange": ofDomain(9, 327, {
    callbackId,
    domain,
    oldPath: maybeText,
    newPath: maybeText,
    device: name,
    reason: int,
  }),
  "domain.trayChange": ofDomain(10, 328, { callbackId, domain, device: name, reason: int }),
  "domain.pmWakeup": ofDomain(11, 329, { callbackId, reason: int, domain }),
  "domain.pmSuspend": ofDomain(12, 330, { callbackId, reason: int, domain }),
  "domain.balloonChange": ofDomain(13, 331, { callbackId, domain, actualKiB: uhyper }),
  "domain.pmSuspendDisk": ofDomain(14, 332, { callbackId, reason: int, domain }),
  "domain.deviceRemoved": ofDomain(15, 333, { callbackId, domain, device: name }),
  "domain.blockJob2": ofDomain(16, 339, { callbackId, domain, disk: name, type: int, status: int }),
  "domain.tunable": ofDomain(17, 346, { callbackId, domain, params: params(Limit.manyParams) }),
  "domain.agentLifecycle": ofDomain(18, 348, { callbackId, domain, state: int, reason: int }),
  "domain.deviceAdded": ofDomain(19, 354, { callbackId, domain, device: name }),
  "domain.migrationIteration": ofDomain(20, 359, { callbackId, domain, iteration: int }),
  "domain.jobCompleted": ofDomain(21, 363, { callbackId, domain, params: params(Limit.someParams) }),
  "domain.deviceRemovalFailed": ofDomain(22, 367, { callbackId, domain, device: name }),
  "domain.metadataChange": ofDomain(23, 379, { callbackId, domain, type: int, uri: maybeText }),
  "domain.blockThreshold": ofDomain(24, 385, {
    callbackId,
    domain,
    device: name,
    path: maybeText,
    thresholdBytes: uhyper,
    excessBytes: uhyper,
  }),
  "domain.memoryFailure": ofDomain(25, 423, { callbackId, domain, recipient: int, action: int, flags: uint }),
  "domain.memoryDeviceSizeChange": ofDomain(26, 438, { callbackId, domain, alias: name, sizeKiB: uhyper }),
  "network.lifecycle": ofNetwork(0, 315, { callbackId, network, event: int, detail: int }),
  "pool.lifecycle": ofPool(0, 370, { callbackId, pool, event: int, detail: int }),
  "pool.refresh": ofPool(1, 373, { callbackId, pool }),
});

/** Names of the events one can subscribe to, such as `domain.lifecycle`. */
export type EventName = keyof typeof eventKinds;

/** What an event of the given name carries. */
export type EventBody<N extends EventName> = (typeof eventKinds)[N] extends EventKind<infer B> ? B : never;

const kindByNumber: ReadonlyMap<number, EventName> = new Map(
  Object.entries(eventKinds).map(([name, kind]) => [kind.number, name as EventName]),
);

/** The event that message `number` of the remote program carries, or undefined where the table has none. */
export function eventByNumber(number: number): EventName | undefined {
  return kindByNumber.get(number);
}
