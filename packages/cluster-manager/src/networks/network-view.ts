import type { NetworkView } from "@muster/protocol";
import type { NetworkBook } from "./network-book.ts";
import type { NetworkRecord } from "./network-record.ts";

export function networkView(book: NetworkBook, record: NetworkRecord, nowMs: number): NetworkView {
  const { name, attachment, cidr, gateway, nameservers, pool, vni, vlan, outside } = record;
  const { mtu, addressing, burstable, projects } = record;
  return {
    name,
    attachment,
    ...(cidr === undefined ? {} : { cidr }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(nameservers === undefined ? {} : { nameservers: [...nameservers] }),
    ...(pool === undefined ? {} : { pool }),
    ...(vni === undefined ? {} : { vni }),
    ...(vlan === undefined ? {} : { vlan }),
    ...(outside === undefined ? {} : { outside }),
    mtu,
    addressing,
    burstable,
    projects,
    default: record.isDefault,
    addresses: book.tally(record, nowMs),
    vms: book.vmsOn(name),
    createdAt: new Date(record.createdAtMs).toISOString(),
  };
}
