/** Real tunnels: wireguard-go or the kernel's WireGuard, VXLAN, bridges and nftables, in namespaces that are gone afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ip } from "../network/testing/namespaces.ts";
import {
  canCarryTunnels,
  closeOrder,
  GATEWAY_ADDRESS,
  joined,
  obeyed,
  openOrder,
  TestHost,
  TwoSites,
} from "./testing/two-sites.ts";

async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 15_000): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe.runIf(canCarryTunnels())("a VM at a lender on its home network", () => {
  const sites = new TwoSites("t", ["52100-52119", "52120-52139"]);
  let away: Awaited<ReturnType<typeof joined>>;

  beforeAll(async () => {
    await sites.start();
    away = await joined(sites, 9, "v");
  }, 30_000);
  afterAll(() => sites.clear());

  it("both hosts can, and say what by", () => {
    expect(sites.gateway.tunnels.ability).toMatchObject({ ready: true, address: GATEWAY_ADDRESS, mtu: 1_370 });
    expect(sites.lender.tunnels.ability).toMatchObject({ ready: true });
    expect(sites.lender.tunnels.ability.address).toBeUndefined();
  });

  it("is reached at its address from home, up to the whole MTU, and what is larger comes in pieces", async () => {
    await until("the tunnel", () => sites.pings(sites.neighbour, "10.43.7.9"));
    expect(sites.pings(away.guest, "10.43.7.2", "-s", String(1_370 - 28))).toBe(true);
    expect(sites.pings(away.guest, "10.43.7.2", "-s", "4000")).toBe(true);
  });

  it("H2: an order that comes again has the same answer, and tells when the other end was last heard", async () => {
    const first = await obeyed(sites.gateway, { ...away.order, peer: away.far.own });
    const again = await obeyed(sites.gateway, { ...away.order, peer: away.far.own });
    expect(again.own).toEqual(first.own);
    expect(first.own?.endpoint?.address).toBe(GATEWAY_ADDRESS);
    expect(away.far.own.endpoint).toBeUndefined();
    expect(again.heardMs).toBeLessThan(180_000);
  });

  it("passes for nobody else at home: neither by another MAC nor by another address", () => {
    ip(["-n", away.guest, "addr", "add", "10.43.7.66/24", "dev", "eth0"]);
    expect(sites.pings(away.guest, "10.43.7.2", "-I", "10.43.7.66")).toBe(false);
    ip(["-n", away.guest, "addr", "del", "10.43.7.66/24", "dev", "eth0"]);
    const { mac } = away.order.nic ?? { mac: "" };
    ip(["-n", away.guest, "link", "set", "eth0", "address", "52:54:00:43:00:77"]);
    expect(sites.pings(away.guest, "10.43.7.2")).toBe(false);
    ip(["-n", away.guest, "link", "set", "eth0", "address", mac]);
    expect(sites.pings(away.guest, "10.43.7.2")).toBe(true);
  });

  it("is found where it speaks: at home while it is there, and behind the tunnel again when it is back there", () => {
    const { mac } = away.order.nic ?? { mac: "" };
    ip(["-n", away.guest, "link", "set", "eth0", "down"]);
    const nic = { address: "10.43.7.9/24", mac };
    const home = sites.guest(sites.gateway.namespace, "br-lan", "hv", nic);
    expect(sites.pings(home, "10.43.7.2")).toBe(true);
    expect(sites.pings(sites.neighbour, "10.43.7.9")).toBe(true);
    ip(["-n", home, "link", "set", "eth0", "down"]);
    ip(["-n", away.guest, "link", "set", "eth0", "up"]);
    expect(sites.pings(away.guest, "10.43.7.2")).toBe(true);
    expect(sites.pings(sites.neighbour, "10.43.7.9")).toBe(true);
  });

  it("does not reach the hosts at either end, nor the VM of another lease", async () => {
    const other = await joined(sites, 10, "w");
    await until("the other tunnel", () => sites.pings(sites.neighbour, "10.43.7.10"));
    // As if it were next to it at the lender: both are on the home network, and meet there or nowhere.
    await obeyed(sites.gateway, closeOrder(other.order.id));
    expect(sites.pings(away.guest, "10.43.7.10")).toBe(false);
    for (const inside of ["169.254.77.1", "169.254.77.2", GATEWAY_ADDRESS]) {
      ip(["-n", away.guest, "route", "replace", `${inside}/32`, "dev", "eth0"]);
      expect(sites.pings(away.guest, inside)).toBe(false);
    }
    await sites.lender.tunnels.release(other.order.vm);
  });

  it("a host manager that starts anew leaves it as it is, and brings back what carried it", async () => {
    await sites.gateway.restart();
    await sites.lender.restart();
    expect(sites.pings(away.guest, "10.43.7.2")).toBe(true);
    const [space = ""] = sites.lender.traces().filter((name) => name.startsWith("mt-"));
    ip(["netns", "del", space]);
    await until("it is cut", () => !sites.pings(away.guest, "10.43.7.2"));
    await sites.lender.restart();
    await until("the tunnel again", () => sites.pings(away.guest, "10.43.7.2"));
    expect(sites.lender.faults).toEqual([]);
  });

  it("closed at home and given up with its VM at the lender, it leaves nothing at either end", async () => {
    await obeyed(sites.gateway, closeOrder(away.order.id));
    await obeyed(sites.gateway, closeOrder(away.order.id));
    await sites.lender.tunnels.release(away.order.vm);
    expect([...sites.gateway.traces(), ...sites.lender.traces()]).toEqual([]);
    expect(sites.gateway.tunnels.uses()).toEqual([]);
  });

  it("H5: a closed attempt is not opened again by what comes late; a later one is", async () => {
    const late = await sites.gateway.tunnels.carryOut(away.order);
    expect(late).toMatchObject({ ok: false, error: { reason: "tunnel-over" } });
    expect(sites.gateway.traces()).toEqual([]);
    const anew = await obeyed(sites.gateway, { ...away.order, attempt: 2 });
    expect(anew.stage).toBe("open");
    await obeyed(sites.gateway, closeOrder(away.order.id, 2));
  });

  it("B4: a gateway closes by itself what its leader speaks of no more", async () => {
    await obeyed(sites.gateway, openOrder({ keepMs: 1_000 }));
    expect(sites.gateway.traces()).not.toEqual([]);
    await until("it is gone", () => sites.gateway.traces().length === 0);
  });

  it("S1: on a network that this host has no bridge of, nothing is left of the try", async () => {
    const nic = { ...awayNicOn("nowhere") };
    const refused = await sites.gateway.tunnels.carryOut(openOrder({ nic }));
    expect(refused).toMatchObject({ ok: false, error: { kind: "unavailable", reason: "no-tunnel" } });
    expect(sites.gateway.traces()).toEqual([]);
  });

  it("S2: no more tunnels than there are ports", async () => {
    const small = new TwoSites("s", ["52140-52140", "52141-52141"]);
    try {
      await small.start();
      const first = openOrder();
      await obeyed(small.gateway, first);
      const refused = await small.gateway.tunnels.carryOut(openOrder());
      expect(refused).toMatchObject({ ok: false, error: { message: expect.stringContaining("gateway.ports") } });
    } finally {
      await small.clear();
    }
  });
});

describe.runIf(canCarryTunnels())("a lender's host behind NAT", () => {
  it("begins, is found through the router that lets nobody in, and goes with all it had", async () => {
    const sites = new TwoSites("n", ["52150-52159", "52160-52169"], true);
    try {
      await sites.start();
      const away = await joined(sites, 9, "nv");
      await until("the tunnel", () => sites.pings(sites.neighbour, "10.43.7.9"), 25_000);
      expect(sites.pings(away.guest, "10.43.7.2", "-s", "1342")).toBe(true);
      await obeyed(sites.gateway, closeOrder(away.order.id));
      await sites.lender.tunnels.release(away.order.vm);
      expect([...sites.gateway.traces(), ...sites.lender.traces()]).toEqual([]);
    } finally {
      await sites.clear();
    }
  }, 60_000);
});

describe("a host without the means", () => {
  it("S2: refuses orders beyond what it lets wait, and carries the others out", async () => {
    const folder = mkdtempSync(join(tmpdir(), "muster-no-tunnels-"));
    const host = new TestHost("mt53-not-there", folder, { ports: "52142-52143" });
    try {
      const answers = await Promise.all(Array.from({ length: 70 }, () => host.tunnels.carryOut(openOrder())));
      const reasons = answers.map((answer) => (answer.ok ? "done" : answer.error.reason));
      expect(reasons.filter((reason) => reason === "busy")).toHaveLength(6);
      expect(reasons.slice(0, 64)).toEqual(reasons.slice(0, 64).map(() => "no-tunnel"));
    } finally {
      host.tunnels.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function awayNicOn(network: string) {
  const { nic } = openOrder();
  if (nic === undefined) throw new Error("no interface");
  return { ...nic, network };
}
