import type { Resources } from "@muster/protocol";

/** The line of a host's or site's presence: `12/32 vCPU free, 3 VMs`, and where it is, if a label says so. */
export function statusLine(
  free: Resources,
  size: Resources,
  vms: number,
  labels: Readonly<Record<string, string>> = {},
): string {
  const place = labels.region ?? labels.zone;
  return `${free.vcpus}/${size.vcpus} vCPU free, ${vms} ${vms === 1 ? "VM" : "VMs"}${place === undefined ? "" : `, ${place}`}`;
}
