import { connect as connectTcp } from "node:net";
import { component } from "@xmpp/component";
import type { Bus } from "./bus.ts";
import { EntityLink } from "./entity-link.ts";
import type { Connector } from "./link.ts";
import { LinkSocket } from "./link-socket.ts";
import { SUPERVISOR_TIMES } from "./link-state.ts";
import { type BusOptions, linkedBus } from "./linked-bus.ts";
import { tameEntity } from "./tame-entity.ts";

export type XmppComponentOptions = BusOptions & {
  /** The server's component port. The link is plain TCP (XEP-0114): loopback, or inside a tunnel. */
  readonly host: string;
  readonly port: number;
  readonly domain: string;
  readonly secret: string;
};

/** A Bus over a component of a real server: it may speak as any address at its domain. */
export function xmppComponentBus(options: XmppComponentOptions): Bus {
  return linkedBus({ kind: "component", domain: options.domain }, componentConnector(options), options);
}

function componentConnector({ host, port, domain, secret, times }: XmppComponentOptions): Connector {
  const service = `xmpp://${host.includes(":") ? `[${host}]` : host}:${port}`;
  class PlainSocket extends LinkSocket {
    constructor() {
      super(() => ({ socket: connectTcp({ host, port }), ready: "connect" }), false);
    }
  }
  return (listener) => {
    const entity = component({ service, domain, password: secret });
    tameEntity(entity, times?.openWithinMs ?? SUPERVISOR_TIMES.openWithinMs);
    entity.Socket = PlainSocket;
    return new EntityLink({ entity, service, domain }, listener);
  };
}
