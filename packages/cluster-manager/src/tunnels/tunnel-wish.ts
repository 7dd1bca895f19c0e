/** Whether a VM of ours is to be on its home network while it runs at a peer, and what is asked for then. */
import { createHash } from "node:crypto";
import type { TunnelWish } from "@muster/broker";
import { type Refusal, refusal, type TunnelAbility } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import { changeHost, type Round } from "../core/round.ts";
import type { WorkingSet } from "../core/working-set.ts";
import { homeNic } from "../dispatch/guest.ts";
import type { HostEntry } from "../inventory/host-entry.ts";
import type { NicRecord } from "../networks/network-record.ts";

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
  const attached = attachedHome(set, nics);
  if (attached === undefined) return undefined;
  const { nic, network } = attached;
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

/**
 * Why such a VM does not go to a peer now: the site's gateways are not ready. It waits for them, since at a peer it would be on
 * another network than it would have been a moment before.
 */
export function awaitsGateway(
  set: Pick<WorkingSet, "networks" | "hosts">,
  { nics = [] }: Pick<VmRecord, "nics">,
): Refusal | undefined {
  const attached = attachedHome(set, nics);
  if (attached === undefined || readyGateways(set).length > 0) return undefined;
  const named = [...set.hosts.values()].filter(({ record }) => record.gateway === true && !record.fenced);
  if (named.length === 0) return undefined;
  const said = named.map(({ name, capacity }) => `${name}: ${gatewayLine(capacity?.tunnel)}`).join("; ");
  const message = `no gateway is ready to keep it on network ${attached.network.name}: ${said}`.slice(0, 400);
  return refusal("unavailable", "no-gateway", message, { retryAfterMs: GATEWAY_WAIT_MS });
}

const GATEWAY_WAIT_MS = 5_000;

function gatewayLine(ability: TunnelAbility | undefined): string {
  return ability?.ready === false ? ability.says : "it is not heard, or is being drained";
}

/** Its one interface, where the network of that is burstable and can be led elsewhere. */
function attachedHome({ networks }: Pick<WorkingSet, "networks">, [nic, ...more]: readonly NicRecord[]) {
  const network = nic === undefined ? undefined : networks.records.get(nic.network);
  if (nic === undefined || network === undefined || more.length > 0) return undefined;
  return network.burstable && ATTACHMENTS.has(network.attachment) ? { nic, network } : undefined;
}

/** Keeps with the host's record that it is a gateway: a new leader knows before it has heard anybody. */
export function noteGateway(round: Round, host: HostEntry): void {
  const gateway = host.capacity?.tunnel !== undefined;
  if (gateway !== (host.record.gateway === true)) changeHost(round, host, { gateway: gateway ? true : undefined });
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
