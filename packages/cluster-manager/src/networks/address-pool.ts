/** Which address a VM gets. Pure: what is taken is asked for, nothing is kept here. */
import type { AddressRange } from "./ipv4.ts";

/** Most addresses of one pool: a walk through it stays short (S2). */
export const POOL_ADDRESSES_MAX = 65_536;

/** The lowest address of the range that nobody has, or `undefined` when all are taken. */
export function lowestFree(range: AddressRange, isTaken: (address: number) => boolean): number | undefined {
  for (let address = range.first; address <= range.last; address += 1) if (!isTaken(address)) return address;
  return undefined;
}
