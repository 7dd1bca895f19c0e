import { describe, expect, it } from "vitest";
import { guestChecks, readAbilities, readFilter, readNameLookup, readTunnels, readVlans } from "./guest-checks.ts";

describe("the doctor's look at real guests", () => {
  it("names what the kernel can do for networks and what it cannot, and finds VLANs dispensable", () => {
    const check = readAbilities([
      { name: "bridge", present: true, use: "networks of a host" },
      { name: "vxlan", present: true, use: "tenants' networks across hosts" },
      { name: "tap", present: true, use: "interfaces of guests" },
      { name: "vlan filtering", present: false, use: "tenants' networks by VLAN" },
      { name: "open vswitch", present: false, use: "tenants' networks by VLAN where the kernel has none" },
    ]);
    expect(check).toMatchObject({ verdict: "ok", message: "bridge, vxlan, tap; not vlan filtering, open vswitch" });
  });

  it("says what is lost without tunnels", () => {
    const check = readAbilities([{ name: "vxlan", present: false, use: "tenants' networks across hosts" }]);
    expect(check).toMatchObject({
      verdict: "warn",
      remedy: "use a kernel with vxlan for tenants' networks across hosts",
    });
  });

  it("finds VLANs dispensable and says how to have them, and a packet filter not", () => {
    const ability = (name: "open vswitch" | "iptables", present: boolean) => ({ name, present, use: "x" });
    expect(readVlans([ability("open vswitch", true)])).toMatchObject({ verdict: "ok", message: "by open vswitch" });
    expect(readVlans([ability("open vswitch", false)])).toMatchObject({ verdict: "ok" });
    expect(readVlans([ability("open vswitch", false)]).message).toContain("apt-get install openvswitch-switch");
    expect(readFilter([ability("iptables", true)]).verdict).toBe("ok");
    expect(readFilter([ability("iptables", false)])).toMatchObject({ remedy: "apt-get install iptables" });
  });

  it("says whether this machine can be a gateway, and what it takes", () => {
    const wireguard = (present: boolean) => readTunnels([{ name: "wireguard", present, use: "x" }]);
    expect(wireguard(true).message).toContain("gateway in host.yaml");
    expect(wireguard(false)).toMatchObject({ verdict: "ok", message: expect.stringContaining("wireguard-go") });
  });

  it("warns of a machine whose own name takes long to look up, whatever comes of it, and of no other", () => {
    expect(readNameLookup("h1", true, 3)).toMatchObject({ verdict: "ok", message: "h1 is found, after 3 ms" });
    expect(readNameLookup("h1", false, 3).verdict).toBe("ok");
    expect(readNameLookup("h1", true, 5_000).remedy).toMatch(/^put h1 into \/etc\/hosts/);
    expect(readNameLookup("h1", false, 10_000)).toMatchObject({ message: "h1 is not found, after 10000 ms" });
    expect(readNameLookup("h1", false, 10_000).verdict).toBe("warn");
  });

  it("tries it out on this machine, and fails nothing", async () => {
    const checks = await guestChecks();
    const names = checks.map(({ name }) => name);
    expect([
      ["guests", "networks", "vlans", "outside", "tunnels", "name"],
      ["guests", "networks", "name"],
    ]).toContainEqual(names);
    expect(checks.filter(({ verdict }) => verdict === "fail")).toEqual([]);
  });
});
