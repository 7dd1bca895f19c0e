/** What a host needs to make a real machine of a VM: decided when its start is ordered, from what was reserved for it. */
import { type LendRecord, urlsAllowed } from "@muster/broker";
import type { Guest, GuestImage, GuestNic } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import type { Round } from "../core/round.ts";
import { subnetOf } from "../networks/ipv4.ts";
import type { NetworkRecord, NicRecord } from "../networks/network-record.ts";

/** Absent for a VM whose image the site knows by name only: its hosts make of it what they can. */
export function guestOf(round: Round, vm: VmRecord): Guest | undefined {
  const { imageDigest, nics = [] } = vm;
  const image =
    imageDigest === undefined ? undefined : (knownImage(round, imageDigest, round.turn.nowMs) ?? lentImage(round, vm));
  if (image === undefined) return undefined;
  const networks = round.set.networks.records;
  return {
    image,
    nics: [
      ...nics.flatMap((nic) => {
        const network = networks.get(nic.network);
        return network === undefined ? [] : [homeNic(network, nic)];
      }),
      ...nicsInTunnels(round, vm),
    ],
  };
}

/** An image of the catalogue, with where its content is: here, for a while, and where it was added from. */
export function knownImage(
  { set, imageUrl }: Pick<Round, "set" | "imageUrl">,
  imageDigest: string,
  nowMs: number,
): Omit<GuestImage, "direct"> | undefined {
  const record = set.images.records.get(imageDigest);
  if (record === undefined || record.content.kind !== "present") return undefined;
  const { digest, format, content, source } = record;
  const { bytes, virtualMiB } = content;
  const own = imageUrl?.(digest, nowMs);
  const urls = [...(own === undefined ? [] : [own]), ...(source.kind === "url" ? [source.url] : [])];
  return { digest, format, bytes, virtualMiB, urls };
}

/** What the hold of a peer's VM says of its image, with the addresses from which the policy lets it be fetched now (B5). */
function lentImage({ lender, set, turn }: Round, { origin, imageDigest }: VmRecord): GuestImage | undefined {
  if (origin.kind !== "peer") return undefined;
  const image = lender.find(origin.peer, origin.exchange)?.hold?.image;
  if (image === undefined || image.digest !== imageDigest) return undefined;
  const lend = set.peers.find(origin.peer, turn.nowMs)?.lend;
  return { ...image, urls: lend === undefined ? [] : urlsAllowed(lend, image), direct: true };
}

/** The interface of a peer's VM that is on its home network, and on nothing here. */
function nicsInTunnels(round: Round, { origin, place }: VmRecord): readonly GuestNic[] {
  const lend = origin.kind === "peer" ? round.lender.find(origin.peer, origin.exchange) : undefined;
  if (lend?.tunnel === undefined) return [];
  return [tunnelNic(round, lend, place.kind === "host" ? place.host : "")];
}

/** As its host attaches it: with what fits through that host's tunnel. */
export function tunnelNic({ set }: Pick<Round, "set">, { id, tunnel }: LendRecord, host: string): GuestNic {
  if (tunnel === undefined) throw new Error(`lease ${id} is without a tunnel`);
  const { vni, mtu, end, nic } = tunnel;
  const { nameservers, ...rest } = nic;
  const mtuThere = set.hosts.get(host)?.capacity?.tunnel?.mtu ?? mtu;
  return {
    network: `peer-${id.slice(0, 8)}`,
    attachment: "bridge",
    mtu: Math.min(mtu, mtuThere),
    ...rest,
    ...(nameservers === undefined ? {} : { nameservers: [...nameservers] }),
    tunnel: { id, vni, peer: end },
  };
}

/** The interface on a network of this site, with what is reserved for it. */
export function homeNic(network: NetworkRecord, { mac, address }: NicRecord): GuestNic {
  const { name, attachment, mtu, addressing, gateway, nameservers, vni, vlan, outside, cidr } = network;
  return {
    network: name,
    attachment,
    mac,
    mtu,
    addressing,
    ...(address === undefined || cidr === undefined ? {} : { address: `${address}/${subnetOf(cidr).prefix}` }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(nameservers === undefined ? {} : { nameservers: [...nameservers] }),
    ...(vni === undefined ? {} : { vni }),
    ...(vlan === undefined ? {} : { vlan }),
    ...(outside === undefined ? {} : { outside }),
  };
}
