import type { Result } from "@muster/base";
import type { SiteClient } from "@muster/client";
import type { HostView, LeaseView, QueueEntry, Refusal, SiteView, VmView } from "@muster/protocol";

/** What one site looks like at one moment, or why it does not answer. */
export type SiteSnapshot =
  | {
      readonly kind: "seen";
      readonly name: string;
      readonly site: SiteView;
      readonly hosts: readonly HostView[];
      readonly vms: readonly VmView[];
      readonly queue: readonly QueueEntry[];
      readonly leases: readonly LeaseView[];
    }
  | { readonly kind: "silent"; readonly name: string; readonly why: string };

/** Asks a site for everything that the live view shows. */
export async function takeSnapshot(name: string, client: SiteClient): Promise<SiteSnapshot> {
  const [site, hosts, vms, queue, leases] = await Promise.all([
    client.site(),
    client.hosts(),
    client.vms({ final: "false" }),
    client.queue(),
    client.leases(),
  ]);
  if (!site.ok) return silent(name, site);
  if (!hosts.ok) return silent(name, hosts);
  if (!vms.ok) return silent(name, vms);
  if (!queue.ok) return silent(name, queue);
  if (!leases.ok) return silent(name, leases);
  return {
    kind: "seen",
    name,
    site: site.value,
    hosts: hosts.value,
    vms: vms.value,
    queue: queue.value,
    leases: leases.value,
  };
}

function silent(name: string, answer: Result<unknown, Refusal> & { readonly ok: false }): SiteSnapshot {
  return { kind: "silent", name, why: answer.error.message };
}
