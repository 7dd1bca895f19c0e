/** What a host needs to make a real machine of a VM: decided when its start is ordered, from what was reserved for it. */
import type { Guest, GuestNic } from "@muster/protocol";
import type { VmRecord } from "../core/records.ts";
import type { Round } from "../core/round.ts";
import { subnetOf } from "../networks/ipv4.ts";
import type { NetworkRecord, NicRecord } from "../networks/network-record.ts";

/** Absent for a VM whose image the site knows by name only: its hosts make of it what they can. */
export function guestOf(round: Round, { imageDigest, nics = [] }: VmRecord): Guest | undefined {
  const record = imageDigest === undefined ? undefined : round.set.images.records.get(imageDigest);
  if (record === undefined || record.content.kind !== "present") return undefined;
  const { digest, format, content, source } = record;
  const { bytes, virtualMiB } = content;
  const own = round.imageUrl?.(digest, round.turn.nowMs);
  const urls = [...(own === undefined ? [] : [own]), ...(source.kind === "url" ? [source.url] : [])];
  const networks = round.set.networks.records;
  return {
    image: { digest, format, bytes, virtualMiB, urls },
    nics: nics.flatMap((nic) => {
      const network = networks.get(nic.network);
      return network === undefined ? [] : [guestNic(network, nic)];
    }),
  };
}

function guestNic(network: NetworkRecord, { mac, address }: NicRecord): GuestNic {
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
