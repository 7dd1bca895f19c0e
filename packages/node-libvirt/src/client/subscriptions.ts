import type { Connection } from "../connection/connection.ts";
import { ConnectionLost } from "../fault.ts";
import { registrationProcedures as rows } from "../table/connect.ts";
import { type EventBody, type EventName, type EventSource, eventByNumber, eventKinds } from "../table/event.ts";
import type { Domain, Network, Pool } from "../table/fields.ts";
import type { Procedure } from "../table/procedure.ts";
import { decode } from "../xdr/decode.ts";

/** Limits an event subscription to one domain, network or pool. */
export type EventFilter = Domain | Network | Pool;

/** A subscription, until it is closed. */
export interface Subscription {
  /** Ends it: the handler is not called again, and the daemon is told. */
  close(): Promise<void>;
}

interface Entry {
  readonly name: EventName;
  readonly filter: EventFilter | null;
  readonly handler: (body: unknown) => void;
  /** The daemon's id for it on the present connection. */
  callbackId: number | undefined;
}

/** An event that was understood and not yet handed to its subscribers. */
interface Arrival {
  readonly name: EventName;
  readonly body: { readonly callbackId: number };
}

/**
 * Who wants which events, and under which ids the daemon knows them. The daemon forgets its clients with their
 * connections, so everything is registered anew on the next one.
 */
export class Subscriptions {
  readonly #entries = new Set<Entry>();
  #connection: Connection | undefined;
  #queue: Arrival[] = [];
  #isDraining = false;

  /** Subscribes on the present connection. Rejects with the faults of a call, and is then not subscribed. */
  async add<N extends EventName>(
    name: N,
    filter: EventFilter | null,
    handler: (body: EventBody<N>) => void,
  ): Promise<Subscription> {
    const entry: Entry = { name, filter, handler: handler as (body: unknown) => void, callbackId: undefined };
    this.#entries.add(entry);
    try {
      if (this.#connection === undefined) throw new ConnectionLost("no connection for events", { sent: false });
      await register(entry, this.#connection);
    } catch (error) {
      this.#entries.delete(entry);
      throw error;
    }
    return { close: () => this.#remove(entry) };
  }

  /** Registers everything on a new connection. What the old one still had to tell is dropped: a relist covers it. */
  async registerAll(connection: Connection): Promise<void> {
    this.#connection = connection;
    this.#queue = [];
    for (const entry of this.#entries) entry.callbackId = undefined;
    await Promise.all([...this.#entries].map((entry) => register(entry, connection)));
  }

  /** Forgets everything; no handler is called again. */
  clear(): void {
    this.#entries.clear();
    this.#connection = undefined;
  }

  /**
   * Takes a message off the socket. Handlers run later, in order of arrival: the answer that tells a subscription its
   * id may stand in the same chunk as its first event, and must be understood first. Messages that are not in the
   * table are ignored; throws `ProtocolViolation` on one that cannot be read.
   */
  accept(procedure: number, body: Buffer): void {
    const name = eventByNumber(procedure);
    if (name === undefined) return;
    this.#queue.push({ name, body: decode<Arrival["body"]>(eventKinds[name].body, body) });
    if (this.#isDraining) return;
    this.#isDraining = true;
    setImmediate(() => this.#drain());
  }

  #drain(): void {
    this.#isDraining = false;
    const batch = this.#queue;
    this.#queue = [];
    for (const arrival of batch) this.#deliver(arrival);
  }

  #deliver({ name, body }: Arrival): void {
    for (const entry of this.#entries) {
      if (entry.name !== name || entry.callbackId !== body.callbackId) continue;
      try {
        entry.handler(body);
      } catch (error) {
        // A bug in one handler must show, but must not keep the event from the others.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  async #remove(entry: Entry): Promise<void> {
    const { callbackId } = entry;
    if (!this.#entries.delete(entry) || callbackId === undefined || this.#connection === undefined) return;
    const { deregister } = registries[eventKinds[entry.name].source];
    // Where the connection is gone, so is the registration.
    await this.#connection.call(deregister, { callbackId }).catch(() => undefined);
  }
}

interface Registry {
  readonly register: Procedure<{ event: number; filter: EventFilter | null }, { callbackId: number }>;
  readonly deregister: Procedure<{ callbackId: number }, unknown>;
}

// The filter of a subscription fits its registry by the types of `Libvirt.subscribe`.
const registries = {
  domain: {
    register: rows.connectDomainEventCallbackRegisterAny,
    deregister: rows.connectDomainEventCallbackDeregisterAny,
  },
  network: { register: rows.connectNetworkEventRegisterAny, deregister: rows.connectNetworkEventDeregisterAny },
  pool: { register: rows.connectStoragePoolEventRegisterAny, deregister: rows.connectStoragePoolEventDeregisterAny },
} as Readonly<Record<EventSource, Registry>>;

async function register(entry: Entry, connection: Connection): Promise<void> {
  const { source, id } = eventKinds[entry.name];
  const answer = await connection.call(registries[source].register, { event: id, filter: entry.filter });
  entry.callbackId = answer.callbackId;
}
