/** IPv4 addresses as whole numbers, and subnets of them (RFC 4632). */

export type Subnet = {
  /** First and last address of all, the network's own and the broadcast address. */
  readonly network: number;
  readonly broadcast: number;
  readonly prefix: number;
};

export type AddressRange = { readonly first: number; readonly last: number };

/** `10.77.0.5` as a number. Throws for what is none: it was checked where it came in. */
export function addressNumber(address: string): number {
  const parts = address.split(".").map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
    throw new Error(`${address} is no IPv4 address`);
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export function addressText(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

/** `10.77.0.0/24`; bits beyond the prefix are ignored. */
export function subnetOf(cidr: string): Subnet {
  const [address = "", length = ""] = cidr.split("/");
  const prefix = Number(length);
  const size = 2 ** (32 - prefix);
  const network = Math.floor(addressNumber(address) / size) * size;
  return { network, broadcast: network + size - 1, prefix };
}

/** Whether two subnets share an address. */
export function overlaps(left: Subnet, right: Subnet): boolean {
  return left.network <= right.broadcast && right.network <= left.broadcast;
}

/** Addresses that guests may have: all but the first and the last. */
export function usable({ network, broadcast }: Subnet): AddressRange {
  return { first: network + 1, last: broadcast - 1 };
}

export function within(range: AddressRange, address: number): boolean {
  return address >= range.first && address <= range.last;
}
