import { systemClock, systemRng } from "@muster/base";
import type { BusWorld } from "../bus.contract.ts";
import type { Bus } from "../bus.ts";
import { xmppClientBus } from "../client-bus.ts";
import { type XmppComponentOptions, xmppComponentBus } from "../component-bus.ts";
import { type RealSite, SECRET } from "./real-site.ts";
import { TcpProxy } from "./tcp-proxy.ts";
import { until } from "./until.ts";

/** A world on a real server for the contract of a Bus: every Bus has a wire of its own there, to be cut and frozen. */
export function realWorld(
  site: Pick<RealSite, "domain" | "cloud" | "caPem" | "service">,
  component: Pick<RealSite["component"], "host" | "port"> & Pick<XmppComponentOptions, "tls">,
): BusWorld {
  const wires = new Map<Bus, TcpProxy>();
  const times = { pingAfterMs: 300, pongWithinMs: 300, backoffBaseMs: 50 };
  const common = { clock: systemClock, rng: systemRng, times };
  const { tls, ...endpoint } = component;
  return {
    domain: site.domain,
    cloud: site.cloud,
    async client(name, options) {
      const wire = await TcpProxy.to(site.service);
      const bus = xmppClientBus({
        ...common,
        service: `xmpps://${wire.host}:${wire.port}`,
        domain: site.domain,
        username: name,
        password: SECRET,
        resource: "desk",
        caPem: site.caPem,
        ...options,
      });
      wires.set(bus, wire);
      return bus;
    },
    async component(options) {
      const wire = await TcpProxy.to(endpoint);
      const { host, port } = wire;
      const inside = tls === undefined ? {} : { tls };
      const own = { host, port, domain: site.cloud, secret: SECRET };
      const bus = xmppComponentBus({ ...common, ...inside, ...own, ...options });
      wires.set(bus, wire);
      return bus;
    },
    cut: (bus) => wires.get(bus)?.cut(),
    freeze: (bus) => wires.get(bus)?.freeze(),
    until,
    async close() {
      await Promise.all([...wires.keys()].map((bus) => bus.stop()));
      await Promise.all([...wires.values()].map((wire) => wire.close()));
    },
  };
}
