/** A guest's interface in libvirt's description (https://libvirt.org/formatdomain.html#network-interfaces). Pure. */
import type { GuestNic } from "@muster/protocol";
import type { Element } from "ltx";
import type { NicWiring } from "../network/port.ts";

/** How an interface that libvirt knows of is wired; QEMU's user networking is told past it. */
export type PluggedWiring = Exclude<NicWiring, { readonly kind: "user" }>;

/** Adds the interface to `<devices/>`. */
export function addInterface(devices: Element, nic: GuestNic, wiring: PluggedWiring): void {
  const card = devices.c("interface", {});
  plugInto(card, wiring);
  card.c("mac", { address: nic.mac });
  card.c("model", { type: "virtio" });
  if (nic.attachment === "vlan") withoutOffloads(card);
  card.c("mtu", { size: String(nic.mtu) });
}

/** What the host has at the other end; whatever was said of it before is gone. */
export function plugInto(card: Element, wiring: PluggedWiring): void {
  for (const name of ["source", "target", "backend", "virtualport", "vlan"])
    for (const child of card.getChildren(name)) card.remove(child);
  if (wiring.kind === "network") {
    card.attrs.type = "network";
    card.c("source", { network: wiring.network });
    return;
  }
  card.attrs.type = "bridge";
  card.c("source", { bridge: wiring.bridge });
  if (wiring.kind === "bridge") return;
  card.c("virtualport", { type: "openvswitch" });
  card.c("vlan").c("tag", { id: String(wiring.vlan) });
}

/**
 * Open vSwitch in user space computes no checksums for guests that leave them out, and their TCP would hang. The guest sees
 * the difference: it is the same on every trunk, so that guests move between hosts that have theirs in other ways.
 */
function withoutOffloads(card: Element): void {
  const driver = card.c("driver", { name: "qemu" });
  const segments = { tso4: "off", tso6: "off", ecn: "off", ufo: "off" };
  driver.c("host", { csum: "off", gso: "off", ...segments });
  driver.c("guest", { csum: "off", ...segments });
}
