/**
 * The description under which a moved guest runs at its destination: what `begin` said of it at the source, with the places
 * of this host. What the guest sees of its machine stays as it is. Pure.
 */
import { err, ok, type Result } from "@muster/base";
import type { GuestNic } from "@muster/protocol";
import { type Element, parse } from "ltx";
import { NS_VM, vmMetadataElement } from "../hypervisor/metadata.ts";
import { plugInto } from "../hypervisor/nic-xml.ts";
import type { DomainPlan } from "../hypervisor/port.ts";
import type { NicWiring } from "../network/port.ts";

export type IncomingParts = {
  readonly virtType: "kvm" | "qemu";
  readonly disk: string;
  readonly seed: string;
  readonly serialLog: string;
  readonly nvram: string;
  readonly nics: ReadonlyArray<{ readonly nic: GuestNic; readonly wiring: NicWiring }>;
};

/** The fault says why such a guest cannot be moved here. */
export function incomingXml(xml: string, plan: DomainPlan, parts: IncomingParts): Result<string, string> {
  const domain = readDomain(xml);
  if (domain === undefined) return err("the source's description of the domain cannot be read");
  const uuid = domain.getChildText("uuid");
  if (uuid !== plan.vm) return err(`the source describes domain ${uuid ?? "without a UUID"}, not ${plan.vm}`);
  const devices = domain.getChild("devices");
  const obstacle = obstacleIn(domain, devices, parts);
  if (obstacle !== undefined || devices === undefined) return err(obstacle ?? "the source describes no devices");
  replaceMetadata(domain, plan);
  unpin(domain);
  domain.getChild("os")?.getChild("nvram")?.children.splice(0, Number.POSITIVE_INFINITY, parts.nvram);
  for (const disk of devices.getChildren("disk"))
    placeDisk(disk, disk.attrs.device === "cdrom" ? parts.seed : parts.disk);
  for (const port of [...devices.getChildren("serial"), ...devices.getChildren("console")])
    placeSerial(port, parts.serialLog);
  for (const card of devices.getChildren("interface")) {
    const wired = wire(card, parts);
    if (!wired.ok) return wired;
  }
  return ok(domain.toString());
}

function readDomain(xml: string): Element | undefined {
  try {
    const domain = parse(xml);
    return domain.getName() === "domain" ? domain : undefined;
  } catch {
    return undefined;
  }
}

/** What belongs to the machine on which the guest runs now. */
function obstacleIn(domain: Element, devices: Element | undefined, { virtType }: IncomingParts): string | undefined {
  if (domain.attrs.type !== virtType)
    return `it runs with ${domain.attrs.type ?? "nothing known"} and this host has ${virtType}: a running guest cannot change that`;
  if (domain.getChild("qemu:commandline") !== undefined)
    return "it uses QEMU's user networking, whose connections cannot be moved";
  if (devices?.getChild("hostdev") !== undefined) return "it has a device of its host: stop it, and start it elsewhere";
  const disks = devices?.getChildren("disk").filter(({ attrs }) => attrs.device === "disk") ?? [];
  if (disks.length !== 1) return `it has ${disks.length} disks: only a guest with its own disk alone is moved alive`;
  return undefined;
}

function replaceMetadata(domain: Element, plan: DomainPlan): void {
  const metadata = domain.getChild("metadata") ?? domain.c("metadata");
  for (const child of metadata.getChildElements()) if (child.getNS() === NS_VM) metadata.remove(child);
  metadata.cnode(vmMetadataElement(plan));
}

function unpin(domain: Element): void {
  const vcpu = domain.getChild("vcpu");
  if (vcpu !== undefined) delete vcpu.attrs.cpuset;
  const tuning = domain.getChild("cputune");
  for (const pin of [...(tuning?.getChildren("vcpupin") ?? []), ...(tuning?.getChildren("emulatorpin") ?? [])])
    tuning?.remove(pin);
}

/** What lies under the disk is found in the disk itself. */
function placeDisk(disk: Element, file: string): void {
  for (const name of ["source", "backingStore", "mirror"])
    for (const child of disk.getChildren(name)) disk.remove(child);
  disk.c("source", { file });
}

function placeSerial(port: Element, file: string): void {
  for (const source of port.getChildren("source")) port.remove(source);
  delete port.attrs.tty;
  const log = port.getChild("log");
  if (log !== undefined) log.attrs.file = file;
}

function wire(card: Element, { nics }: IncomingParts): Result<void, string> {
  const mac = card.getChild("mac")?.attrs.address;
  const wiring = nics.find(({ nic }) => nic.mac === mac)?.wiring;
  if (wiring === undefined || wiring.kind === "user")
    return err(`this host has no network for its interface ${mac ?? ""}`);
  plugInto(card, wiring);
  return ok(undefined);
}
