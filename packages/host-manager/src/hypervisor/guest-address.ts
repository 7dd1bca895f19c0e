/** Where a VM answers, as its domain tells. Pure. */
import type { DomainPlan } from "./port.ts";

/**
 * The address that was reserved for the first interface, without its prefix length; with QEMU's user networking, the
 * address and port of the host at which the guest's ssh answers. `undefined` where nobody knows it before the guest asks.
 */
export function addressInDomainXml(xml: string, plan: DomainPlan): string | undefined {
  const [first] = plan.subject.guest?.nics ?? [];
  if (first === undefined) return undefined;
  if (first.attachment !== "user") return first.address?.split("/", 1)[0];
  return FORWARD.exec(xml)?.groups?.place;
}

/** As `guestXml` writes it; libvirt gives QEMU's own words back unchanged. */
const FORWARD = /hostfwd=tcp:(?<place>[0-9.]+:\d{1,5})-:22/;
