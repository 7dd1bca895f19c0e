import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type NetworksConfigInput, networksConfigSchema } from "./config.ts";
import { openHostNetworks } from "./host-networks.ts";
import { canMakeNetworks, ip, Namespaces } from "./testing/namespaces.ts";

/** Two hosts, two tenants, and a guest of each tenant on each host; guests are namespaces at the end of a cable. */
const UNDERLAY: Readonly<Record<"a" | "b", NetworksConfigInput>> = {
  a: { underlay: { address: "10.99.0.1", peers: ["10.99.0.1", "10.99.0.2"] } },
  b: { underlay: { address: "10.99.0.2", peers: ["10.99.0.1", "10.99.0.2"] } },
};
const TENANTS = { red: 5_311, blue: 5_312 } as const;
const MTU = 1_450;

const hasFilter = spawnSync("sh", ["-c", "PATH=$PATH:/usr/sbin command -v iptables"]).status === 0;

describe.runIf(canMakeNetworks())("networks of two tenants on the same hosts", { timeout: 90_000 }, () => {
  const world = new Namespaces(`${process.pid}i`);
  const folder = mkdtempSync(join(tmpdir(), "muster-isolation-"));
  const guests = new Map<string, string>();

  beforeAll(async () => {
    const hosts = { a: world.add("a"), b: world.add("b") };
    world.cable([hosts.a, "under0", "10.99.0.1/24"], [hosts.b, "under0", "10.99.0.2/24"]);
    for (const host of ["a", "b"] as const) {
      const namespace = hosts[host];
      const config = networksConfigSchema.parse({ ...UNDERLAY[host], namespace });
      const stateFolder = mkdtempSync(join(folder, "h"));
      const networks = openHostNetworks({ config, stateFolder, libvirtUri: "test:///default" });
      if (!networks.ok) throw new Error(networks.error.reason);
      for (const tenant of ["red", "blue"] as const) {
        // Both tenants use the same addresses, as they may.
        const address = host === "a" ? "10.53.0.1/24" : "10.53.0.2/24";
        const nic = {
          network: tenant,
          attachment: "vxlan",
          mac: `52:54:00:53:0${host === "a" ? 1 : 2}:0${tenant === "red" ? 1 : 2}`,
          mtu: MTU,
          addressing: "static",
          address,
          vni: TENANTS[tenant],
        } as const;
        const wiring = await networks.value.attach(randomUUID(), nic);
        if (!wiring.ok || wiring.value.kind !== "bridge") throw new Error(JSON.stringify(wiring));
        const guest = world.add(`${host}${tenant}`);
        world.cable([namespace, `tap${tenant}`], [guest, "eth0", address], MTU);
        ip(["-n", namespace, "link", "set", `tap${tenant}`, "master", wiring.value.bridge]);
        guests.set(`${host}/${tenant}`, guest);
      }
    }
  });
  afterAll(() => {
    world.clear();
    rmSync(folder, { recursive: true, force: true });
  });

  const guest = (name: string): string => guests.get(name) ?? "";
  const pings = (from: string, to: string, bytes = 56): boolean =>
    world.run(guest(from), "busybox", "ping", "-c", "1", "-W", "2", "-s", String(bytes), to);

  it("join the guests of one tenant across hosts, up to the whole MTU", () => {
    expect(pings("a/red", "10.53.0.2")).toBe(true);
    expect(pings("b/blue", "10.53.0.1")).toBe(true);
    // ICMP and IP headers take 28 bytes; what does not fit into one frame is sent in pieces.
    expect(pings("a/red", "10.53.0.2", MTU - 28)).toBe(true);
    expect(pings("a/red", "10.53.0.2", 4_000)).toBe(true);
  });

  it("keep the tenants apart: an address that only the other tenant has is not reached", () => {
    ip(["-n", guest("b/blue"), "addr", "add", "10.53.0.77/24", "dev", "eth0"]);
    ip(["-n", guest("a/blue"), "addr", "add", "10.53.0.78/24", "dev", "eth0"]);
    expect(pings("a/blue", "10.53.0.77")).toBe(true);
    expect(pings("a/red", "10.53.0.77")).toBe(false);
    expect(pings("a/red", "10.53.0.78")).toBe(false);
  });

  it("keep guests from the hosts: the bridge has no address, not even a link-local one", () => {
    for (const host of ["a", "b"]) {
      for (const vni of Object.values(TENANTS)) {
        const shown = ip(["-n", `mt53${process.pid}i${host}`, "-json", "addr", "show", "dev", `mb${vni}`]);
        expect(JSON.parse(shown)[0].addr_info).toEqual([]);
      }
    }
    expect(pings("a/red", "10.99.0.1")).toBe(false);
  });

  it.runIf(hasFilter).each([
    ["4", "10.99.0.1", "10.99.0.0/24", "10.53.0.254"],
    ["6", "fd53::1", "fd53::/64", "fd53:1::254"],
  ])(
    "keep guests from the hosts by IPv%s, also where they know the bridge's MAC and are taken for its own",
    (family, address, subnet, via) => {
      const host = `mt53${process.pid}ia`;
      const [{ address: mac }] = JSON.parse(ip(["-n", host, "-json", "link", "show", "dev", `mb${TENANTS.red}`]));
      if (family === "6") {
        ip(["-n", host, "addr", "add", `${address}/64`, "dev", "under0", "nodad"]);
        ip(["-n", guest("a/red"), "addr", "add", "fd53:1::2/64", "dev", "eth0", "nodad"]);
      }
      ip(["-n", guest("a/red"), "neigh", "replace", via, "lladdr", mac, "dev", "eth0"]);
      ip(["-n", guest("a/red"), "route", "add", subnet, "via", via]);
      const filter = family === "6" ? "ip6tables" : "iptables";
      const arrived = (): number => {
        pings("a/red", address);
        const words = ["netns", "exec", host, filter, "-vnxL", "INPUT"];
        const shown = spawnSync("ip", words, { encoding: "utf8" }).stdout.split("\n");
        return Number(
          shown
            .find((line) => line.includes(address))
            ?.trim()
            .split(/\s+/)[0],
        );
      };
      // The address is also where the other host's VXLAN packets go: those are no guest's.
      const echo = family === "6" ? "icmpv6" : "icmp";
      world.run(host, filter, "-A", "INPUT", "-p", echo, "-d", address, "-j", "ACCEPT");
      expect(arrived()).toBe(0);
      world.run(host, filter, "-D", "INPUT", "-j", "MUSTER-INPUT");
      expect(arrived()).toBeGreaterThan(0);
    },
  );
});
