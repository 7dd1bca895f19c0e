import { isLibvirtError, ProtocolViolation } from "../fault.ts";
import type { Domain, TypedParam } from "../table/fields.ts";

/** Enough to name a domain: its UUID. Name and id help messages and old drivers only. */
export interface DomainRef {
  readonly uuid: string;
  readonly name?: string;
  readonly id?: number;
}

/** A typed parameter as a plain value. Booleans arrive as such, 64-bit numbers as bigint. */
export type ParamValue = number | bigint | string | boolean;

/** Typed parameters by name. */
export type ParamRecord = Readonly<Record<string, ParamValue>>;

/** The domain as the wire wants it. Drivers look it up by UUID alone, but the name must not be empty. */
export function wireDomain(ref: DomainRef): Domain {
  return { name: ref.name ?? ref.uuid, uuid: ref.uuid, id: ref.id ?? -1 };
}

/** The sum of the flags that are set. Bits count from 0. */
export function flags(...set: readonly (readonly [isSet: boolean | undefined, bit: number])[]): number {
  return set.reduce((sum, [isSet, bit]) => (isSet === true ? sum + 2 ** bit : sum), 0);
}

/** A 64-bit count as a number. Throws where it would lose digits, which no real count of KiB does. */
export function safeNumber(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolViolation(`${what}: ${value} is not believable`);
  return Number(value);
}

/** Typed parameters as an object. A name that comes twice keeps its last value. */
export function paramRecord(params: readonly TypedParam[]): ParamRecord {
  return Object.fromEntries(
    params.map(({ field, value }) => [field, value.type === 6 ? value.value !== 0 : value.value]),
  );
}

/** The answer, or undefined where libvirt says with `code` that there is no such thing. */
export async function orAbsent<T>(call: Promise<T>, code: number): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isLibvirtError(error, code)) return undefined;
    throw error;
  }
}

/** The UUID that a domain's XML asks for, where it does: it tells which jobs the definition must wait for. */
export function uuidInXml(xml: string): string | undefined {
  return /<uuid>\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*<\/uuid>/i.exec(xml)?.[1];
}
