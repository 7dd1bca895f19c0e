import { systemClock, systemRng } from "@muster/base";
import { afterAll, beforeAll } from "vitest";
import { type BusWorld, busContract } from "./bus.contract.ts";
import type { Bus } from "./bus.ts";
import { xmppClientBus } from "./client-bus.ts";
import { xmppComponentBus } from "./component-bus.ts";
import { type RealSite, realSite, SECRET } from "./testing/real-site.ts";
import { TcpProxy } from "./testing/tcp-proxy.ts";
import { until } from "./testing/until.ts";

let site: RealSite;

beforeAll(async () => {
  site = await realSite("alpha.test", "127.0.41.1", ["ann", "bob"]);
});

afterAll(() => site.close());

/** Every Bus has a wire of its own to the one server, to be cut and frozen; components link plain or inside TLS. */
async function realWorld(inside: "tcp" | "tls"): Promise<BusWorld> {
  const tls = inside === "tls" ? { tls: await site.managerTls("a") } : {};
  const wires = new Map<Bus, TcpProxy>();
  const times = { pingAfterMs: 300, pongWithinMs: 300, backoffBaseMs: 50 };
  const common = { clock: systemClock, rng: systemRng, times };
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
      const wire = await TcpProxy.to(inside === "tls" ? site.componentTls : site.component);
      const { host, port } = wire;
      const bus = xmppComponentBus({ ...common, ...tls, host, port, domain: site.cloud, secret: SECRET, ...options });
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

busContract("xmpp.js against Prosody", () => realWorld("tcp"));
busContract("xmpp.js against Prosody, components inside TLS", () => realWorld("tls"));
