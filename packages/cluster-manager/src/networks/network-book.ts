/**
 * The networks of the site, and who has which address and MAC. Reservations are derived from the VMs' records, so that a
 * reservation can neither outlive its VM nor get lost without it.
 */
import { createHash } from "node:crypto";
import type { VmRecord } from "../core/records.ts";
import { lowestFree } from "./address-pool.ts";
import { type AddressRange, addressNumber, addressText, within } from "./ipv4.ts";
import type { NetworkRecord, NicRecord } from "./network-record.ts";

/** How long an address rests after its VM: neighbours, DHCP servers and users still take it for the old one. */
export const ADDRESS_COOL_MS = 300_000;

type Holders = {
  readonly vms: Set<string>;
  readonly taken: Map<number, string>;
  readonly cooling: Map<number, number>;
};
/** As much of a VM's record as says what is reserved for it. */
type Reserving = Pick<VmRecord, "id" | "nics">;

export class NetworkBook {
  readonly records = new Map<string, NetworkRecord>();
  readonly #holders = new Map<string, Holders>();
  readonly #macs = new Map<string, string>();

  /** The network of VMs that name none, and of those of peers. */
  get byDefault(): NetworkRecord | undefined {
    for (const record of this.records.values()) if (record.isDefault) return record;
    return undefined;
  }

  /** VMs that are not over and have an interface there. */
  vmsOn(network: string): number {
    return this.#holders.get(network)?.vms.size ?? 0;
  }

  isVniTaken(vni: number): boolean {
    for (const record of this.records.values()) if (record.vni === vni) return true;
    return false;
  }

  isVlanTaken(vlan: number): boolean {
    for (const record of this.records.values()) if (record.vlan === vlan) return true;
    return false;
  }

  /** The networks that a VM's interfaces are on. */
  networksOf({ nics = [] }: Pick<VmRecord, "nics">): readonly NetworkRecord[] {
    return nics.flatMap(({ network }) => this.records.get(network) ?? []);
  }

  take({ id, nics = [] }: Reserving): void {
    for (const { network, mac, address } of nics) {
      const holders = this.#holdersOf(network);
      holders.vms.add(id);
      if (address !== undefined) holders.taken.set(addressNumber(address), id);
      this.#macs.set(mac, id);
    }
  }

  give({ id, nics = [] }: Reserving): void {
    for (const { network, mac, address } of nics) {
      const holders = this.#holdersOf(network);
      holders.vms.delete(id);
      if (address !== undefined) holders.taken.delete(addressNumber(address));
      this.#macs.delete(mac);
    }
  }

  /** Lets the addresses of a VM that ended rest. */
  cool({ nics = [] }: Reserving, untilMs: number): void {
    for (const { network, address } of nics)
      if (address !== undefined) this.#holdersOf(network).cooling.set(addressNumber(address), untilMs);
  }

  /** Addresses of the network's pool: in all, reserved, and resting. */
  tally(record: NetworkRecord, nowMs: number): { total: number; reserved: number; cooling: number } {
    const { range, gateway } = poolOf(record);
    if (range === undefined) return { total: 0, reserved: 0, cooling: 0 };
    const { taken, cooling } = this.#settled(record.name, nowMs);
    const inGateway = gateway !== undefined && within(range, gateway) ? 1 : 0;
    return { total: range.last - range.first + 1 - inGateway, reserved: taken.size, cooling: cooling.size };
  }

  /** New interfaces for a VM, one a network; those of a pool that has nothing left have no address. */
  reserve(vm: string, networks: readonly NetworkRecord[], nowMs: number): NicRecord[] {
    return networks.map((record, index) => {
      const address = this.#freeAddress(record, nowMs);
      const mac = this.#freeMac(vm, index);
      return { network: record.name, mac, ...(address === undefined ? {} : { address }) };
    });
  }

  /** The interfaces with the addresses they lack, all of them or none. */
  complete(nics: readonly NicRecord[], nowMs: number): readonly NicRecord[] | undefined {
    const whole: NicRecord[] = [];
    for (const nic of nics) {
      const record = this.records.get(nic.network);
      if (record === undefined || !lacksAddress(record, nic)) whole.push(nic);
      else {
        const address = this.#freeAddress(record, nowMs);
        if (address === undefined) return undefined;
        whole.push({ ...nic, address });
      }
    }
    return whole;
  }

  /** Why the VM has to wait for an address, or `undefined`. */
  lack({ nics = [] }: Reserving, nowMs: number): string | undefined {
    for (const nic of nics) {
      const record = this.records.get(nic.network);
      if (record !== undefined && lacksAddress(record, nic)) return this.fullLine(record, nowMs);
    }
    return undefined;
  }

  /** Whether the network has an address for one more VM. */
  hasRoom(record: NetworkRecord, nowMs: number): boolean {
    return record.pool === undefined || this.#freeAddress(record, nowMs) !== undefined;
  }

  fullLine(record: NetworkRecord, nowMs: number): string {
    const { total, reserved, cooling } = this.tally(record, nowMs);
    const resting = cooling === 0 ? "" : `, ${cooling} rest for a few minutes after their VMs`;
    return `network ${record.name} has no address left: ${reserved} of ${total} are reserved${resting}`;
  }

  #freeAddress(record: NetworkRecord, nowMs: number): string | undefined {
    const { range, gateway } = poolOf(record);
    if (range === undefined) return undefined;
    const { taken, cooling } = this.#settled(record.name, nowMs);
    if (taken.size + cooling.size > range.last - range.first) {
      const { total } = this.tally(record, nowMs);
      if (taken.size + cooling.size >= total) return undefined;
    }
    const free = lowestFree(range, (at) => at === gateway || taken.has(at) || cooling.has(at));
    return free === undefined ? undefined : addressText(free);
  }

  /** From the VM's id, which is unique in the federation: two sites joined by a tunnel hardly ever make the same one. */
  #freeMac(vm: string, index: number): string {
    for (let salt = 0; ; salt += 1) {
      const hash = createHash("sha256").update(`${vm}/${index}/${salt}`).digest();
      const mac = ["52", "54", ...[...hash.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
      if (!this.#macs.has(mac)) return mac;
    }
  }

  #settled(network: string, nowMs: number): Holders {
    const holders = this.#holdersOf(network);
    for (const [address, untilMs] of holders.cooling) if (untilMs <= nowMs) holders.cooling.delete(address);
    for (const address of holders.taken.keys()) holders.cooling.delete(address);
    return holders;
  }

  #holdersOf(network: string): Holders {
    const known = this.#holders.get(network);
    if (known !== undefined) return known;
    const holders: Holders = { vms: new Set(), taken: new Map(), cooling: new Map() };
    this.#holders.set(network, holders);
    return holders;
  }
}

function lacksAddress(record: NetworkRecord, nic: NicRecord): boolean {
  return record.pool !== undefined && nic.address === undefined;
}

function poolOf({ pool, gateway }: NetworkRecord): {
  readonly range: AddressRange | undefined;
  readonly gateway: number | undefined;
} {
  return {
    range: pool === undefined ? undefined : { first: addressNumber(pool.first), last: addressNumber(pool.last) },
    gateway: gateway === undefined ? undefined : addressNumber(gateway),
  };
}
