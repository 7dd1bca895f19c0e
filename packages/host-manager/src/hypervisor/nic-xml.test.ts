import type { GuestNic } from "@muster/protocol";
import { Element } from "ltx";
import { describe, expect, it } from "vitest";
import { addInterface, plugInto } from "./nic-xml.ts";

const NIC: GuestNic = {
  network: "red",
  attachment: "vlan",
  mac: "52:54:00:42:00:01",
  mtu: 1_400,
  addressing: "none",
  vlan: 10,
};
const TRUNK = { kind: "open-vswitch", bridge: "br-vlan", vlan: 10 } as const;
const OWN_BRIDGE = { kind: "bridge", bridge: "mv10" } as const;

function card(nic: GuestNic, wiring: Parameters<typeof addInterface>[2]): Element {
  const devices = new Element("devices");
  addInterface(devices, nic, wiring);
  const [added] = devices.getChildren("interface");
  if (added === undefined) throw new Error("no interface was added");
  return added;
}

describe("an interface in libvirt's description", () => {
  it("is a port of Open vSwitch under its tag, and computes its own checksums", () => {
    const xml = card(NIC, TRUNK).toString();
    expect(xml).toContain('<source bridge="br-vlan"/><virtualport type="openvswitch"/><vlan><tag id="10"/></vlan>');
    expect(xml).toContain('<host csum="off" gso="off" tso4="off"');
    expect(xml).toContain('<mtu size="1400"/>');
  });

  it("shows a guest on a VLAN the same card on every trunk, and one on another network the usual card", () => {
    const seen = (wiring: Parameters<typeof addInterface>[2]): readonly string[] =>
      ["mac", "model", "driver", "mtu"].map((name) => String(card(NIC, wiring).getChild(name)));
    expect(seen(OWN_BRIDGE)).toEqual(seen(TRUNK));
    expect(card({ ...NIC, attachment: "vxlan" }, OWN_BRIDGE).getChild("driver")).toBeUndefined();
  });

  it("is plugged into another host's trunk with nothing left of the one before", () => {
    const moved = card(NIC, TRUNK);
    moved.c("target", { dev: "vnet0" });
    plugInto(moved, OWN_BRIDGE);
    expect(moved.toString()).not.toMatch(/openvswitch|<vlan|vnet0|br-vlan/);
    expect(moved.getChildren("source").map(({ attrs }) => attrs)).toEqual([{ bridge: "mv10" }]);
    plugInto(moved, TRUNK);
    expect(moved.getChildren("virtualport")).toHaveLength(1);
    expect(moved.getChild("vlan")?.getChild("tag")?.attrs).toEqual({ id: "10" });
    plugInto(moved, { kind: "network", network: "muster-nat-lan" });
    expect(moved.attrs.type).toBe("network");
    expect(moved.toString()).not.toMatch(/openvswitch|<vlan/);
  });
});
