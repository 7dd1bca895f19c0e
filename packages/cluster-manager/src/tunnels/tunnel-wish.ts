/** Whether a VM of ours is to be on its home network while it runs at a peer, and what is asked for then. */
import { createHash } from "node:crypto";
import type { BorrowTunnel } from "@muster/broker";
import type { TunnelAbility } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import type { WorkingSet } from "../core/working-set.ts";
import { homeNic } from "../dispatch/guest.ts";
import type { HostEntry } from "../inventory/host-entry.ts";

export type TunnelWish = Omit<BorrowTunnel, "own" | "other">;

/** Networks that have a bridge on each of their hosts, on which a tunnel can end. */
const ATTACHMENTS: ReadonlySet<string> = new Set(["bridge", "vxlan"]);

/**
 * A VM with one interface, on a network that is burstable, where a gateway is ready. Any other VM that bursts gets the
 * lender's network.
 */
export function tunnelWish(
  set: Pick<WorkingSet, "networks" | "hosts">,
  { id, nics = [] }: Pick<VmRecord, "id" | "nics">,
): TunnelWish | undefined {
  const [nic, ...more] = nics;
  const network = nic === undefined ? undefined : set.networks.records.get(nic.network);
  if (nic === undefined || network === undefined || more.length > 0) return undefined;
  if (!network.burstable || !ATTACHMENTS.has(network.attachment)) return undefined;
  const gateways = readyGateways(set);
  if (gateways.length === 0) return undefined;
  const reachable = gateways.filter(({ ability }) => ability.address !== undefined);
  const usable = reachable.length > 0 ? reachable : gateways;
  const { mac, mtu, addressing, address, gateway, nameservers } = homeNic(network, nic);
  return {
    reach: reachable.length > 0 ? "reachable" : "outbound",
    vni: vniOf(id),
    mtu: Math.min(mtu, ...usable.map(({ ability }) => ability.mtu)),
    nic: {
      mac,
      addressing,
      ...(address === undefined ? {} : { address }),
      ...(gateway === undefined ? {} : { gateway }),
      ...(nameservers === undefined ? {} : { nameservers }),
    },
  };
}

/** Hosts that carry tunnels and can be asked now. */
export function readyGateways({
  hosts,
}: Pick<WorkingSet, "hosts">): readonly { readonly host: HostEntry; readonly ability: TunnelAbility }[] {
  return [...hosts.values()].flatMap((host) => {
    const ability = host.capacity?.tunnel;
    const isThere = host.liveness === "alive" && host.reconciled && !host.record.fenced && !host.record.draining;
    return ability?.ready === true && isThere ? [{ host, ability }] : [];
  });
}

/** Each tunnel is alone in its WireGuard: the identifier only has to be the same at both ends. */
function vniOf(vm: string): number {
  return 1 + (createHash("sha256").update(vm).digest().readUInt32BE(0) % 16_777_215);
}
