import {
  cloudAddress,
  type HostView,
  hostContact,
  isFinal,
  localOf,
  type SiteView,
  type VmView,
  vmContact,
  vmPhaseSchema,
} from "@muster/protocol";
import { bareAddress, domainOf } from "@muster/xmpp";
import { Element } from "ltx";
import type { CoreViews } from "../core/core.ts";

/** What an ordinary XMPP client can have in its roster. */
export type Contact = { readonly kind: "site" | "broker" } | { readonly kind: "host" | "vm"; readonly id: string };

/** What the contact shows: without `show` it accepts or runs. */
export type ContactPresence = {
  readonly available: boolean;
  readonly show?: "away" | "dnd" | "xa" | undefined;
  readonly status: string;
  readonly nick?: string;
};

const NS_NICK = "http://jabber.org/protocol/nick";

export function contactAddress(contact: Contact, domain: string): string {
  switch (contact.kind) {
    case "site":
      return cloudAddress(domain);
    case "broker":
      return `broker@${cloudAddress(domain)}`;
    case "host":
      return hostContact(contact.id, domain);
    case "vm":
      return vmContact(contact.id, domain);
  }
}

/** The contact at an address of ours; `undefined` for addresses that can be none. */
export function contactAt(address: string, domain: string): Contact | undefined {
  const bare = bareAddress(address);
  if (domainOf(bare) !== cloudAddress(domain)) return undefined;
  const local = localOf(bare);
  if (local === undefined) return { kind: "site" };
  if (local === "broker") return { kind: "broker" };
  if (local.startsWith("host-")) return { kind: "host", id: local.slice("host-".length) };
  if (local.startsWith("vm-")) return { kind: "vm", id: local.slice("vm-".length) };
  return undefined;
}

export function contactKey(contact: Contact): string {
  return "id" in contact ? `${contact.kind}-${contact.id}` : contact.kind;
}

/** What a contact shows now; `undefined` when there is no such host or VM (any more). */
export function presenceOf(contact: Contact, views: CoreViews, nowMs: number): ContactPresence | undefined {
  switch (contact.kind) {
    case "site":
      return sitePresence(views.site(nowMs));
    case "broker":
      return brokerPresence(views, nowMs);
    case "host": {
      const host = views.host(contact.id, nowMs);
      return host === undefined ? undefined : hostPresence(host);
    }
    case "vm": {
      const vm = views.vm(contact.id);
      return vm === undefined || vm === "ambiguous" || vm.id !== contact.id ? undefined : vmPresence(vm);
    }
  }
}

function sitePresence(site: SiteView): ContactPresence {
  const vms = Object.entries(site.vms).reduce((total, [phase, count]) => (isOver(phase) ? total : total + count), 0);
  const silent = (site.hosts.suspect ?? 0) + (site.hosts.lost ?? 0);
  const parts = [
    `${site.free.vcpus}/${site.total.vcpus - site.reserved.vcpus} vCPU free`,
    `${vms} ${vms === 1 ? "VM" : "VMs"}`,
    `${site.queued} queued`,
  ];
  if (silent > 0) parts.push(`${silent} hosts not heard`);
  const standbys = site.managers.flatMap(({ name, role }) => (role === "standby" ? [name] : []));
  const waiting = standbys.length === 0 ? "no standby" : `standby ${standbys.join(", ")}`;
  parts.push(`led by ${site.leader} in term ${site.term}, ${waiting}`);
  const full = site.free.vcpus === 0 || site.queued > 0;
  const { maintenance } = site;
  if (maintenance !== undefined) {
    const until = maintenance.until === undefined ? "" : ` until ${maintenance.until}`;
    parts.unshift(`maintenance${until}: ${maintenance.reason}`);
  }
  if (maintenance !== undefined)
    return { available: true, show: "xa", status: parts.join(", "), nick: `Muster ${site.domain}` };
  const show = !site.reconciled || silent > 0 ? "away" : full ? "dnd" : undefined;
  return { available: true, show, status: parts.join(", "), nick: `Muster ${site.domain}` };
}

function isOver(phase: string): boolean {
  const known = vmPhaseSchema.safeParse(phase);
  return known.success && isFinal(known.data);
}

function brokerPresence(views: CoreViews, nowMs: number): ContactPresence {
  const leases = views.leases(nowMs);
  const lent = leases.filter(({ role }) => role === "lender").length;
  const peers = views.peers(nowMs).map(({ domain, state }) => `${domain} ${state}`);
  const status = `${lent} leases lent, ${leases.length - lent} borrowed; peers: ${peers.join(", ") || "none"}`;
  return { available: true, status, nick: `Broker of ${views.site(nowMs).domain}` };
}

function hostPresence(host: HostView): ContactPresence {
  const nick = `Host ${host.name}`;
  if (host.liveness === "lost" || host.liveness === "unknown")
    return { available: false, status: host.liveness === "lost" ? "not heard any more" : "not heard yet", nick };
  const total = host.total.vcpus - host.reserved.vcpus;
  const own = host.statusLine === "" ? `${host.free.vcpus}/${total} vCPU free, ${host.vms} VMs` : host.statusLine;
  if (host.liveness === "suspect") return { available: true, show: "away", status: `heartbeats missed; ${own}`, nick };
  if (host.draining || host.condition === "draining")
    return { available: true, show: "xa", status: `draining; ${own}`, nick };
  if (host.condition === "degraded")
    return { available: true, show: "away", status: `hypervisor does not answer; ${own}`, nick };
  const show = host.condition === "full" || host.free.vcpus === 0 ? "dnd" : undefined;
  return { available: true, show, status: own, nick };
}

function vmPresence(vm: VmView): ContactPresence {
  const where =
    vm.place.kind === "host" ? ` on ${vm.place.host}` : vm.place.kind === "peer" ? ` at ${vm.place.peer}` : "";
  const why = vm.reason === undefined ? "" : `: ${vm.reason}`;
  const nick = `VM ${vm.name}`;
  switch (vm.phase) {
    case "running":
      return { available: true, status: `running${where}${vm.address === undefined ? "" : `, ${vm.address}`}`, nick };
    case "paused":
      return { available: true, show: "away", status: `paused${where}${why}`, nick };
    case "placing":
    case "deleting":
      return { available: true, show: "dnd", status: `${vm.phase}${where}${why}`, nick };
    case "in-doubt":
      return { available: true, show: "away", status: `in doubt${where}${why}`, nick };
    case "queued":
      return { available: true, show: "dnd", status: `queued${why}`, nick };
    default:
      return { available: false, status: `${vm.phase}${where}${why}`, nick };
  }
}

/** The presence stanza that tells it to one watcher. */
export function presenceStanza(from: string, to: string, shown: ContactPresence): Element {
  const presence = new Element("presence", { from, to, ...(shown.available ? {} : { type: "unavailable" }) });
  if (shown.show !== undefined) presence.c("show").t(shown.show);
  presence.c("status").t(shown.status);
  if (shown.nick !== undefined) presence.c("nick", { xmlns: NS_NICK }).t(shown.nick);
  return presence;
}
