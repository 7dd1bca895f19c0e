import { connect as connectTcp } from "node:net";
import { component } from "@xmpp/component";
import type { Bus } from "./bus.ts";
import { type ComponentTls, dialTls } from "./component-tls.ts";
import { EntityLink } from "./entity-link.ts";
import type { Connector } from "./link.ts";
import { type Dial, LinkSocket } from "./link-socket.ts";
import { SUPERVISOR_TIMES } from "./link-state.ts";
import { type BusOptions, linkedBus } from "./linked-bus.ts";
import { tameEntity } from "./tame-entity.ts";

export type XmppComponentOptions = BusOptions & {
  /** The server's component port. Without `tls` the link is plain TCP (XEP-0114): loopback, or inside a tunnel. */
  readonly host: string;
  readonly port: number;
  /** For a server on another machine; its port is that of `mod_muster_component_tls`. */
  readonly tls?: ComponentTls;
  readonly domain: string;
  readonly secret: string;
};

/**
 * A Bus over a component of a real server: it may speak as any address at its domain. Throws when `tls` holds no usable
 * certificates and key.
 */
export function xmppComponentBus(options: XmppComponentOptions): Bus {
  return linkedBus({ kind: "component", domain: options.domain }, componentConnector(options), options);
}

function componentConnector({ host, port, domain, secret, times, tls }: XmppComponentOptions): Connector {
  const service = `xmpp://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const dial: Dial =
    tls === undefined ? () => ({ socket: connectTcp({ host, port }), ready: "connect" }) : dialTls(host, port, tls);
  class ComponentSocket extends LinkSocket {
    constructor() {
      super(dial, tls !== undefined);
    }
  }
  return (listener) => {
    const entity = component({ service, domain, password: secret });
    tameEntity(entity, times?.openWithinMs ?? SUPERVISOR_TIMES.openWithinMs);
    entity.Socket = ComponentSocket;
    return new EntityLink({ entity, service, domain }, listener);
  };
}
