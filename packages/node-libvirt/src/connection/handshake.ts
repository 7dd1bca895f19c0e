import { ConnectionLost } from "../fault.ts";
import { connectProcedures as rows } from "../table/connect.ts";
import { Connection, type ConnectionHooks, type ConnectionOptions } from "./connection.ts";
import { Deadline } from "./deadline.ts";

const AUTH_NONE = 0;
const AUTH_POLKIT = 2;
/** `VIR_DRV_FEATURE_PROGRAM_KEEPALIVE`: asking for it makes the daemon watch us by pings of its own. */
const FEATURE_KEEPALIVE = 10;
const FLAG_READ_ONLY = 1;

/** What to open on a fresh connection. */
export interface OpenOptions extends ConnectionOptions {
  /** Hypervisor, such as `qemu:///system` or `test:///default`. The daemon picks one where it is not given. */
  readonly uri?: string;
  /** Opens the hypervisor for looking only. */
  readonly readOnly?: boolean;
  /** Deadline of the whole opening, in milliseconds. Default 10 000. */
  readonly openTimeoutMs?: number;
}

/**
 * Connects, authenticates (none, or polkit where the daemon asks for it) and opens the hypervisor, all within one
 * deadline: a stopped daemon's socket still accepts connections, so nothing less would end.
 */
export async function openConnection(options: OpenOptions, hooks: ConnectionHooks = {}): Promise<Connection> {
  const deadline = new Deadline(options.openTimeoutMs ?? 10_000);
  const connection = await Connection.connect(options, hooks, deadline.leftMs());
  try {
    await authenticate(connection, deadline);
    if ((options.keepalive?.intervalMs ?? 1) > 0) {
      const feature = { feature: FEATURE_KEEPALIVE };
      await connection.call(rows.connectSupportsFeature, feature, { timeoutMs: deadline.leftMs() });
    }
    const args = { uri: options.uri ?? null, flags: options.readOnly === true ? FLAG_READ_ONLY : 0 };
    await connection.call(rows.connectOpen, args, { timeoutMs: deadline.leftMs() });
    return connection;
  } catch (error) {
    connection.destroy("the hypervisor could not be opened");
    throw error;
  }
}

/** Says goodbye to the hypervisor, then closes the socket whatever the answer is. */
export async function closeConnection(connection: Connection, timeoutMs: number): Promise<void> {
  // The connection ends either way; a daemon that no longer answers is as good as closed.
  await connection.call(rows.connectClose, {}, { timeoutMs }).catch(() => undefined);
  connection.destroy();
}

async function authenticate(connection: Connection, deadline: Deadline): Promise<void> {
  const { types } = await connection.call(rows.authList, {}, { timeoutMs: deadline.leftMs() });
  if (types.length === 0 || types.includes(AUTH_NONE)) return;
  if (types.includes(AUTH_POLKIT)) {
    await connection.call(rows.authPolkit, {}, { timeoutMs: deadline.leftMs() });
    return;
  }
  const remedy = 'set auth_unix_rw = "none" or "polkit" in libvirtd.conf';
  throw new ConnectionLost(`the daemon asks for SASL, which is not supported: ${remedy}`, { sent: false });
}
