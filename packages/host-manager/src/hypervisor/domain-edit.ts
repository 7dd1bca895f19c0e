/** Changes of a domain's definition, as XML to XML. Pure. */
import { Element, parse } from "ltx";
import { planInDomainXml, vmMetadataElement } from "./metadata.ts";

export type NewSize = {
  readonly vcpus?: number | undefined;
  readonly memoryMiB?: number | undefined;
  readonly diskGiB?: number | undefined;
};

/** The definition of the same VM with another size, in its metadata as well. The fault is a sentence. */
export function resizedXml(xml: string, size: NewSize): { readonly xml: string } | { readonly fault: string } {
  const domain = parse(xml);
  const plan = planInDomainXml(xml);
  if (plan === undefined) return { fault: "the domain is not one of ours" };
  const { spec } = plan.subject;
  const { vcpus = spec.vcpus, memoryMiB = spec.memoryMiB, diskGiB = spec.diskGiB } = size;
  if (vcpus !== spec.vcpus && spec.dedicatedCpus === true) {
    return { fault: "a VM with CPUs of its own keeps their number" };
  }
  setText(domain.getChild("vcpu"), String(vcpus));
  for (const name of ["memory", "currentMemory"]) {
    const memory = domain.getChild(name);
    if (memory === undefined) continue;
    memory.attrs.unit = "MiB";
    setText(memory, String(memoryMiB));
  }
  const resized = { ...plan, subject: { ...plan.subject, spec: { ...spec, vcpus, memoryMiB, diskGiB } } };
  const metadata = domain.getChild("metadata");
  metadata?.remove("vm", vmMetadataElement(plan).getNS() ?? "");
  metadata?.cnode(vmMetadataElement(resized));
  return { xml: domain.toString() };
}

/** The first disk name that is free: `vdb`, `vdc`, … */
export function freeTarget(xml: string): string | undefined {
  const taken = new Set(disksOf(xml).map((disk) => String(disk.getChild("target")?.attrs.dev)));
  return Array.from("bcdefghijklmnopqrstuvwxyz", (letter) => `vd${letter}`).find((name) => !taken.has(name));
}

/** A volume as a device. Its name is the serial number that the guest sees, in `/dev/disk/by-id`. */
export function volumeXml(file: string, name: string, target: string): string {
  const disk = new Element("disk", { type: "file", device: "disk" });
  disk.c("driver", { name: "qemu", type: "qcow2", discard: "unmap" });
  disk.c("source", { file });
  disk.c("target", { dev: target, bus: "virtio" });
  disk.c("serial").t(name.slice(0, SERIAL_LENGTH_MAX));
  return disk.toString();
}

/** virtio-blk's bound. */
const SERIAL_LENGTH_MAX = 20;

/** The device that lies on a file, as the domain has it now. */
export function diskXmlOf(xml: string, file: string): string | undefined {
  return disksOf(xml)
    .find((disk) => disk.getChild("source")?.attrs.file === file)
    ?.toString();
}

function setText(element: Element | undefined, text: string): void {
  if (element === undefined) return;
  element.children = [];
  element.t(text);
}

function disksOf(xml: string): Element[] {
  return parse(xml).getChild("devices")?.getChildren("disk") ?? [];
}
