/** The part of xmpp.js that the adapters use; the packages ship no types of their own. */
declare module "@xmpp/client" {
  import type { EventEmitter } from "node:events";
  import type { Element } from "ltx";

  /** A stream over a socket: what client and component share. */
  export interface Connection extends EventEmitter {
    /** Our own address, once online. */
    jid: { toString(): string } | null;
    /** For opening and closing the stream, milliseconds of the system's clock. */
    timeout: number;
    /** An instance of `Socket` while connected or connecting. */
    socket: unknown;
    Socket: new () => object;
    reconnect: { stop(): void };
    connect(service: string): Promise<unknown>;
    open(options: { readonly domain: string }): Promise<unknown>;
    stop(): Promise<unknown>;
    send(element: Element): Promise<void>;
  }

  /** One way to connect. `Socket` and the parameters for its `connect` are taken from the prototype. */
  export class Transport {
    socketParameters(service: string): object | undefined;
  }

  export interface StreamManagement extends EventEmitter {
    enabled: boolean;
    /** Stanzas sent and not yet acknowledged. */
    outbound_q: readonly unknown[];
    /** Silence after an `<r/>` that ends the link; 0 never does. */
    timeout: number;
  }

  export type Authenticate = (
    credentials: { readonly username: string; readonly password: string },
    mechanism: string | undefined,
  ) => Promise<void>;

  export interface Client extends Connection {
    transports: (typeof Transport)[];
    streamManagement: StreamManagement;
    /** `saslmechanisms`: tried in order; `_mechs` is its list. */
    saslFactory: {
      _mechs: { readonly name: string; readonly mech: unknown }[];
      use(name: string, mechanism: unknown): unknown;
    };
    iqCaller: {
      /** Answers the child of the result; rejects with `{ name: "StanzaError", condition }` or a time-out. */
      set(payload: Element, to: string, timeoutMs: number): Promise<unknown>;
    };
  }

  export function client(options: {
    readonly service: string;
    readonly domain: string;
    readonly resource: string;
    readonly username: string;
    /** Called after TLS and features, before SASL. */
    readonly credentials: (authenticate: Authenticate, mechanisms: readonly string[]) => Promise<void>;
  }): Client;
}

declare module "@xmpp/component" {
  import type { Connection } from "@xmpp/client";

  export function component(options: {
    readonly service: string;
    readonly domain: string;
    readonly password: string;
  }): Connection;
}
