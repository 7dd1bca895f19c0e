import { EventEmitter } from "node:events";
import type { Connection } from "../connection/connection.ts";
import { Deadline, deadlineTimer } from "../connection/deadline.ts";
import type { OpenOptions } from "../connection/handshake.ts";
import { type ConnectionLost, type ProtocolViolation, Timeout } from "../fault.ts";
import type { EventBody, EventName } from "../table/event.ts";
import type { Procedure } from "../table/procedure.ts";
import type { ReconnectOptions } from "./backoff.ts";
import type { Caller, OrderedCallOptions } from "./caller.ts";
import { DomainOrder, type Release } from "./domain-order.ts";
import { Link, type Role } from "./link.ts";
import { type EventFilter, type Subscription, Subscriptions } from "./subscriptions.ts";

const ROLES: readonly Role[] = ["events", "reads", "jobs"];

/** How to open a client: where, what, and the limits in time and number. */
export interface ClientOptions extends OpenOptions {
  /** Waits between attempts after a lost connection. */
  readonly reconnect?: ReconnectOptions;
}

/** What a client tells about itself. */
export interface ClientEvents {
  /** A connection was lost; it is being opened again. Calls under way on it were rejected. */
  disconnected: [role: Role, fault: ConnectionLost | ProtocolViolation];
  /** All connections are there again. */
  connected: [];
  /** After every loss, once all is well again: events may have been missed, so list everything anew. */
  relist: [];
}

/**
 * Three connections to one daemon: events, quick reads and long jobs. A daemon answers no more than a handful of
 * calls per connection at a time, so that jobs which hang would otherwise stop everything else. Jobs that name a
 * domain are done one at a time, in the order of the calls.
 */
export class Client extends EventEmitter<ClientEvents> implements Caller {
  readonly #links: Readonly<Record<Role, Link>>;
  readonly #order = new DomainOrder();
  readonly #subscriptions = new Subscriptions();
  readonly #callTimeoutMs: number;
  /** Whether the user has been told last that all is well. */
  #isWhole = false;
  #isClosed = false;

  constructor(options: ClientOptions) {
    super();
    this.#callTimeoutMs = options.callTimeoutMs ?? 30_000;
    const link = (role: Role) =>
      new Link(role, options, options.reconnect ?? {}, {
        opened: (connection) => this.#opened(role, connection),
        message: (procedure, body) => this.#subscriptions.accept(procedure, body),
        up: () => this.#up(),
        down: (fault) => this.#down(role, fault),
      });
    this.#links = { events: link("events"), reads: link("reads"), jobs: link("jobs") };
  }

  /** Whether all three connections are there. */
  get isConnected(): boolean {
    return ROLES.every((role) => this.#links[role].isUp);
  }

  /** Opens all three connections. Where one cannot be opened, none stays open and its fault is thrown. */
  async connect(): Promise<void> {
    const attempts = await Promise.allSettled(ROLES.map((role) => this.#links[role].open()));
    const failed = attempts.find((attempt) => attempt.status === "rejected");
    if (failed !== undefined) {
      await this.close(100);
      throw failed.reason;
    }
    this.#isWhole = true;
  }

  /**
   * Makes any call of the table: rows marked `read` go over the connection for reads, the others over that for jobs.
   * Rejects with a `CallFault`. A call that names a domain in `order` waits for the jobs before it, also for one that
   * timed out, as the daemon may still be at it.
   */
  async call<A, R>(procedure: Procedure<A, R>, args: A, options: OrderedCallOptions = {}): Promise<R> {
    const link = procedure.lane === "read" ? this.#links.reads : this.#links.jobs;
    if (options.order === undefined) return link.call(procedure, args, options);
    const timeoutMs = options.timeoutMs ?? this.#callTimeoutMs;
    const deadline = new Deadline(timeoutMs);
    const release = await this.#turn(options.order.toLowerCase(), procedure.name, timeoutMs);
    return link.call(procedure, args, { timeoutMs: deadline.leftMs() }, release);
  }

  /** Calls `handler` for each event of the given name, across reconnects, until the subscription is closed. */
  subscribe<N extends EventName>(
    name: N,
    handler: (body: EventBody<N>) => void,
    filter: EventFilter | null = null,
  ): Promise<Subscription> {
    return this.#subscriptions.add(name, filter, handler);
  }

  /** Closes all connections, each within `timeoutMs`. Calls under way are rejected. Closing again does nothing. */
  async close(timeoutMs = 1_000): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#subscriptions.clear();
    await Promise.all(ROLES.map((role) => this.#links[role].close(timeoutMs)));
  }

  #turn(key: string, procedure: string, timeoutMs: number): Promise<Release> {
    const { turn, leave } = this.#order.enter(key);
    return new Promise((resolve, reject) => {
      const timer = deadlineTimer(timeoutMs, () => {
        if (leave()) reject(new Timeout({ procedure, timeoutMs, sent: false }));
      });
      void turn.then((release) => {
        timer.clear();
        resolve(release);
      });
    });
  }

  async #opened(role: Role, connection: Connection): Promise<void> {
    if (role === "events") await this.#subscriptions.registerAll(connection);
  }

  #down(role: Role, fault: ConnectionLost | ProtocolViolation): void {
    this.#isWhole = false;
    this.emit("disconnected", role, fault);
  }

  #up(): void {
    if (this.#isWhole || !this.isConnected) return;
    this.#isWhole = true;
    this.emit("connected");
    this.emit("relist");
  }
}
