import type { CallOptions, Connection } from "../connection/connection.ts";
import { closeConnection, type OpenOptions, openConnection } from "../connection/handshake.ts";
import { ConnectionLost, type ProtocolViolation } from "../fault.ts";
import type { Procedure } from "../table/procedure.ts";
import { type ReconnectOptions, reconnectDelayMs } from "./backoff.ts";

/** What the three connections of a client are for: a hung job must delay neither a look nor an event. */
export type Role = "events" | "reads" | "jobs";

/** What a link tells the client. */
export interface LinkHooks {
  /** A connection is open; the link is up once this is done. A rejection counts as a failed attempt. */
  readonly opened: (connection: Connection) => Promise<void>;
  readonly message: (procedure: number, body: Buffer) => void;
  /** The link is up again after a loss. */
  readonly up: () => void;
  readonly down: (fault: ConnectionLost | ProtocolViolation) => void;
}

/** One role's connection, opened anew with growing waits whenever it is lost, until it is closed. */
export class Link {
  readonly role: Role;
  readonly #options: OpenOptions;
  readonly #reconnect: ReconnectOptions;
  readonly #hooks: LinkHooks;
  #connection: Connection | undefined;
  #attempt = 0;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(role: Role, options: OpenOptions, reconnect: ReconnectOptions, hooks: LinkHooks) {
    this.role = role;
    this.#options = options;
    this.#reconnect = reconnect;
    this.#hooks = hooks;
  }

  get isUp(): boolean {
    return this.#connection !== undefined;
  }

  /** The first opening, whose failure is the caller's to handle; there is no retry before it has succeeded once. */
  async open(): Promise<void> {
    // Before the connection is up, its end is the end of this attempt and nobody else's business.
    const opening: { isUp: boolean; lost?: ConnectionLost | ProtocolViolation } = { isUp: false };
    const connection = await openConnection(this.#options, {
      message: this.#hooks.message,
      lost: (fault) => {
        opening.lost = fault;
        if (opening.isUp) this.#lost(fault);
      },
    });
    try {
      await this.#hooks.opened(connection);
      if (opening.lost !== undefined) throw opening.lost;
      if (this.#closed) throw new ConnectionLost("the client was closed", { sent: false });
    } catch (error) {
      connection.destroy();
      throw error;
    }
    opening.isUp = true;
    this.#connection = connection;
    this.#attempt = 0;
  }

  /** Makes a call, or rejects at once while the connection is down. */
  call<A, R>(procedure: Procedure<A, R>, args: A, options: CallOptions, released?: () => void): Promise<R> {
    if (this.#connection !== undefined) return this.#connection.call(procedure, args, options, released);
    released?.();
    const state = this.#closed ? "the client was closed" : `the connection for ${this.role} is down, reconnecting`;
    return Promise.reject(new ConnectionLost(state, { sent: false }));
  }

  /** Closes for good, saying goodbye to the daemon within `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection !== undefined) await closeConnection(connection, timeoutMs);
  }

  #lost(fault: ConnectionLost | ProtocolViolation): void {
    this.#connection = undefined;
    if (this.#closed) return;
    this.#scheduleRetry();
    this.#hooks.down(fault);
  }

  #scheduleRetry(): void {
    if (this.#closed) return;
    this.#retry = setTimeout(
      () => {
        // Whatever the reason of a failed attempt, the answer is the next one. A listener's error is no failed attempt.
        void this.open().then(this.#hooks.up, () => this.#scheduleRetry());
      },
      reconnectDelayMs(this.#attempt, this.#reconnect),
    );
    this.#attempt += 1;
  }
}
