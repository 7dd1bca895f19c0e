/** The error a libvirt driver answered with (`virError` in libvirt's terms). The call was carried out and refused. */
export class LibvirtError extends Error {
  override readonly name = "LibvirtError";
  readonly kind = "libvirt";
  /** `virErrorNumber`; see {@link ErrorCode} for the ones programs act on. */
  readonly code: number;
  /** `virErrorDomain`: the part of libvirt that reports, 12 being the test driver and 10 QEMU. */
  readonly domain: number;
  /** `virErrorLevel`: 1 warning, 2 error. */
  readonly level: number;
  /** The procedure that was called, as named in the table. */
  readonly procedure: string;

  constructor(facts: { code: number; domain: number; level: number; message: string; procedure: string }) {
    super(facts.message);
    this.code = facts.code;
    this.domain = facts.domain;
    this.level = facts.level;
    this.procedure = facts.procedure;
  }
}

/** The socket is gone, or there is none at the moment. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  readonly kind = "connection-lost";
  /** Whether the call had been handed to the daemon: if so its effect is unknown, if not it had none. */
  readonly sent: boolean;

  constructor(message: string, facts: { sent: boolean; cause?: unknown }) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.sent = facts.sent;
  }
}

/** The deadline passed. libvirt cannot cancel a call: where `sent` is true the daemon may still carry it out. */
export class Timeout extends Error {
  override readonly name = "Timeout";
  readonly kind = "timeout";
  readonly procedure: string;
  readonly timeoutMs: number;
  /** Whether the call had been handed to the daemon: if so its effect is unknown, if not it had none. */
  readonly sent: boolean;

  constructor(facts: { procedure: string; timeoutMs: number; sent: boolean }) {
    super(`${facts.procedure}: no answer within ${facts.timeoutMs} ms${facts.sent ? "" : " (never sent)"}`);
    this.procedure = facts.procedure;
    this.timeoutMs = facts.timeoutMs;
    this.sent = facts.sent;
  }
}

/** The other side sent what the protocol does not allow. */
export class ProtocolViolation extends Error {
  override readonly name = "ProtocolViolation";
  readonly kind = "protocol-violation";
  /** True once the call it rejects was on the wire. */
  readonly sent = true;
}

/** An argument does not fit the procedure: nothing was sent. */
export class ArgumentRefused extends Error {
  override readonly name = "ArgumentRefused";
  readonly kind = "argument";
  /** Path of the field, such as `dom.uuid`; empty for the whole. */
  readonly field: string;
  readonly sent = false;

  constructor(field: string, problem: string) {
    super(field === "" ? problem : `${field}: ${problem}`);
    this.field = field;
  }
}

/** A bounded queue is full: nothing was sent. Try again when some of the calls under way are done. */
export class Overloaded extends Error {
  override readonly name = "Overloaded";
  readonly kind = "overloaded";
  readonly limit: number;
  readonly sent = false;

  constructor(what: string, limit: number) {
    super(`${what}: ${limit} calls are waiting already, which is the limit`);
    this.limit = limit;
  }
}

/** A private libvirtd could not be started or did not come up; the message says what to do. */
export class DaemonFailed extends Error {
  override readonly name = "DaemonFailed";
  readonly kind = "daemon";
}

/** Every error this library rejects a call with; switch on `kind`. */
export type CallFault = LibvirtError | ConnectionLost | Timeout | ProtocolViolation | ArgumentRefused | Overloaded;

/** The `virErrorNumber` values that programs commonly act on. */
export const ErrorCode = {
  internalError: 1,
  noSupport: 3,
  invalidArgument: 8,
  operationFailed: 9,
  xmlError: 27,
  domainExists: 28,
  operationDenied: 29,
  xmlDetail: 35,
  networkExists: 37,
  systemError: 38,
  rpc: 39,
  noDomain: 42,
  noNetwork: 43,
  authFailed: 45,
  noStoragePool: 49,
  noStorageVolume: 50,
  operationInvalid: 55,
  configUnsupported: 67,
  operationTimeout: 68,
  noDomainSnapshot: 72,
  argumentUnsupported: 74,
  operationAborted: 78,
  noDomainMetadata: 80,
  migrateUnsafe: 81,
  operationUnsupported: 84,
  agentUnresponsive: 86,
  resourceBusy: 87,
  accessDenied: 88,
  storageVolumeExists: 90,
  agentUnsynced: 97,
  deviceMissing: 99,
} as const;

/** Whether an error is libvirt's answer with the given code. */
export function isLibvirtError(error: unknown, code: number): error is LibvirtError {
  return error instanceof LibvirtError && error.code === code;
}
