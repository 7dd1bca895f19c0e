import { err, ok } from "@muster/base";
import type { GuestNic } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { Firewall, tableText } from "./firewall.ts";
import { type FirewallWish, firewallPlan, ISOLATED } from "./firewall-rules.ts";
import { gatewayMac, overlap, subnetText } from "./gateway.ts";
import type { NicUse } from "./uses-file.ts";

function use(number: number, nic: Partial<GuestNic>, port?: number): NicUse {
  return {
    vm: `0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a0${number}`,
    nic: {
      network: "blue",
      attachment: "vxlan",
      mac: `52:54:00:42:00:0${number}`,
      mtu: 1_400,
      addressing: "static",
      address: `10.42.7.1${number}/24`,
      gateway: "10.42.7.1",
      vni: 10_000,
      ...nic,
    },
    ...(port === undefined ? {} : { port }),
  };
}

const firewallRules = (wish: FirewallWish) => firewallPlan(wish)?.rules;

describe("what the packet filter has to do", () => {
  it("is nothing where no network leads outside and nobody is behind the host", () => {
    const uses = [use(2, { attachment: "bridge" }), use(3, { attachment: "user" }, 22_000)];
    expect(firewallPlan({ uses, accessAddress: "192.0.2.4", vxlanPort: 4_789 })).toBeUndefined();
  });

  it("is to keep guests of isolated networks from the host, and to route nothing", () => {
    const plan = firewallPlan({ uses: [use(1, {})], accessAddress: "192.0.2.4", vxlanPort: 4_789 });
    expect(plan).toEqual({ routes: false, rules: ISOLATED });
    expect(ISOLATED["MUSTER-FORWARD"]).toEqual(["-i mb+ ! -o mb+ -j DROP", "-i mv+ ! -o mv+ -j DROP"]);
    expect(ISOLATED["MUSTER-INPUT"]).toEqual(["-i mb+ -j DROP", "-i mv+ -j DROP"]);
  });

  it("opens one port to one port of one guest, whatever else it has", () => {
    const uses = [use(1, { outside: "nat" }, 20_000), use(2, { outside: "nat" })];
    const rules = firewallRules({ uses, accessAddress: "192.0.2.4", vxlanPort: 4_789 });
    expect(rules?.["MUSTER-DOORS"]).toEqual([
      "-d 192.0.2.4/32 -p tcp -m tcp --dport 20000 -j DNAT --to-destination 10.42.7.11:22",
    ]);
    expect(rules?.["MUSTER-FORWARD"].filter((rule) => rule.includes("DNAT"))).toEqual([
      "-o mb10000 -d 10.42.7.11/32 -p tcp -m tcp --dport 22 -m conntrack --ctstate DNAT -j ACCEPT",
    ]);
  });

  it("opens none without an address of the admin's", () => {
    const rules = firewallRules({ uses: [use(1, { outside: "nat" }, 20_000)] });
    expect(rules?.["MUSTER-DOORS"]).toEqual([]);
    expect(rules?.["MUSTER-OUTSIDE"]).toEqual(["-s 10.42.7.0/24 ! -o mb10000 -j MASQUERADE"]);
  });

  it("keeps guests behind libvirt's NAT from forging tunnels as well", () => {
    const nat = [use(1, { attachment: "nat" })];
    expect(firewallRules({ uses: nat, vxlanPort: 4_790 })?.["MUSTER-FORWARD"]).toContain(
      "-i mn+ ! -o mn+ -p udp -m udp --dport 4790 -j DROP",
    );
    expect(firewallPlan({ uses: nat })?.routes).toBe(true);
  });
});

describe("what iptables-restore is told", () => {
  const plan = firewallPlan({ uses: [use(1, { outside: "nat" })] });
  const rules = plan?.rules;
  const text = (present: readonly string[], wish = rules) => tableText("filter", present, wish);

  it("fills the chains anew, and has each called once and first", () => {
    const fresh = text(["-P FORWARD ACCEPT"]) ?? "";
    expect(fresh).toMatch(/^\*filter\n:MUSTER-FORWARD - \[0:0\]\n:MUSTER-INPUT/);
    expect(fresh).toContain("-I FORWARD 1 -j MUSTER-FORWARD");
    expect(fresh).not.toContain("-D ");
    expect(fresh).toMatch(/COMMIT\n$/);
    const again = text(["-N MUSTER-FORWARD", "-A FORWARD -j OTHER", "-A FORWARD -j MUSTER-FORWARD"]) ?? "";
    expect(again.indexOf("-D FORWARD -j MUSTER-FORWARD")).toBeLessThan(again.indexOf("-I FORWARD 1"));
    expect(again).not.toContain("OTHER");
  });

  it("takes ours away and nothing else, and says nothing where there is nothing", () => {
    const gone = tableText("filter", ["-N MUSTER-INPUT", "-A INPUT -j MUSTER-INPUT", "-A INPUT -j OTHER"], undefined);
    expect(gone).toBe("*filter\n:MUSTER-INPUT - [0:0]\n-D INPUT -j MUSTER-INPUT\n-X MUSTER-INPUT\nCOMMIT\n");
    expect(tableText("filter", ["-A FORWARD -j OTHER"], undefined)).toBeUndefined();
  });

  it("is missed where a network is to lead outside, and done without where none is", async () => {
    const missing = new Firewall(undefined, async () => err("iptables: not found"));
    expect(await missing.apply(plan)).toMatchObject({ ok: false, error: "iptables: not found" });
    expect(await missing.apply(firewallPlan({ uses: [use(1, {})] }))).toEqual({ ok: true, value: undefined });
    expect(await missing.apply(undefined)).toMatchObject({ ok: true });
    expect(await missing.lack()).toMatch(/not found: install iptables/);
  });

  it("is not repeated while nothing changes", async () => {
    const told: string[] = [];
    const firewall = new Firewall(undefined, async (program) => {
      told.push(program);
      return ok("");
    });
    await firewall.apply(plan);
    const once = told.length;
    await firewall.apply(plan);
    expect(told).toHaveLength(once);
    await firewall.apply(plan, true);
    expect(told).toHaveLength(2 * once);
  });
});

describe("gateways", () => {
  it("have one MAC a network, the same on every host, and no multicast one", () => {
    expect(gatewayMac(1)).toBe("02:4d:75:00:00:01");
    expect(gatewayMac(16_777_215)).toBe("02:4d:75:ff:ff:ff");
  });

  it("know overlapping subnets, and subnets by their lowest address", () => {
    expect(overlap("10.42.7.1/24", "10.42.0.0/16")).toBe(true);
    expect(overlap("10.42.7.1/24", "10.42.8.1/24")).toBe(false);
    expect(overlap("0.0.0.0/0", "192.0.2.1/32")).toBe(true);
    expect(subnetText("10.42.7.129/25")).toBe("10.42.7.128/25");
    expect(subnetText("203.0.113.9/8")).toBe("203.0.0.0/8");
  });
});
