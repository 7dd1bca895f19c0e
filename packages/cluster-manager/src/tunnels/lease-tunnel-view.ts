import type { BorrowRecord, LendRecord } from "@muster/broker";
import type { LeaseView, TunnelEnd } from "@muster/protocol";
import type { WorkingSet } from "../core/working-set.ts";

type TunnelPart = Pick<LeaseView, "tunnel">;

/** The way home of our VM at a peer. */
export function borrowedTunnel({ tunnels }: Pick<WorkingSet, "tunnels">, { id, tunnel }: BorrowRecord): TunnelPart {
  if (tunnel === undefined) return {};
  const { nic, mtu, own, other } = tunnel;
  return { tunnel: { ...partsOf(tunnels.records.get(id)?.host, nic.address, own, other), mtu } };
}

/** The way home of a peer's VM here. */
export function lentTunnel(
  { vms }: Pick<WorkingSet, "vms">,
  { hold, stage, tunnel, tunnelEnd }: LendRecord,
): TunnelPart {
  if (tunnel === undefined) return {};
  const place = hold === undefined ? undefined : vms.get(hold.vm)?.record.place;
  const host = stage === "leased" && place?.kind === "host" ? place.host : undefined;
  return { tunnel: { ...partsOf(host, tunnel.nic.address, tunnelEnd, tunnel.end), mtu: tunnel.mtu } };
}

function partsOf(
  host: string | undefined,
  cidr: string | undefined,
  own: TunnelEnd | undefined,
  other: TunnelEnd | undefined,
): Omit<NonNullable<LeaseView["tunnel"]>, "mtu"> {
  const [address] = cidr?.split("/") ?? [];
  return {
    ...(host === undefined ? {} : { host }),
    ...(address === undefined ? {} : { address }),
    ...(own === undefined ? {} : { own }),
    ...(other === undefined ? {} : { other }),
  };
}
