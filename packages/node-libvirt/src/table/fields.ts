import {
  array,
  double,
  hyper,
  type Infer,
  int,
  optional,
  struct,
  text,
  uhyper,
  uint,
  union,
  uuid,
} from "../xdr/schema.ts";

/** Bounds the protocol sets, in bytes or items. */
export const Limit = {
  textBytes: 4_194_304,
  listItems: 16_384,
  cookieBytes: 4_194_304,
  cpuMapBytes: 2_048,
  cpuMapsBytes: 8_388_608,
  cells: 1_024,
  leases: 65_536,
  statsParams: 262_144,
  manyParams: 2_048,
  someParams: 64,
  fewParams: 16,
  peekBytes: 4_194_304,
} as const;

/** A string that is always there. */
export const name = text(Limit.textBytes);
/** A string that may be absent. */
export const maybeText = optional(name);
/** A list of names. */
export const names = array(name, Limit.listItems);

/** A domain, which is libvirt's word for a virtual machine. `id` is -1 while it is not running. */
export const domain = struct({ name, uuid, id: int });
/** A virtual network. */
export const network = struct({ name, uuid });
/** A storage pool. */
export const pool = struct({ name, uuid });
/** A storage volume: its pool's name, its own name and its key, commonly the path. */
export const volume = struct({ pool: name, name, key: name });
/** A snapshot of a domain. */
export const snapshot = struct({ name, domain });

/** A virtual machine as the daemon names it. `id` is -1 while it is not running. */
export type Domain = Infer<typeof domain>;
/** A virtual network as the daemon names it. */
export type Network = Infer<typeof network>;
/** A storage pool as the daemon names it. */
export type Pool = Infer<typeof pool>;
/** A storage volume as the daemon names it. */
export type Volume = Infer<typeof volume>;
/** A snapshot as the daemon names it. */
export type Snapshot = Infer<typeof snapshot>;

/** The value of a typed parameter with its `virTypedParameterType`. */
export type TypedValue =
  | { readonly type: 1 | 2 | 6; readonly value: number }
  | { readonly type: 3 | 4; readonly value: bigint }
  | { readonly type: 5; readonly value: number }
  | { readonly type: 7; readonly value: string };

/** A named, typed value: libvirt's extensible argument and result. */
export const typedParam = struct({
  field: name,
  value: union<TypedValue>({ 1: int, 2: uint, 3: hyper, 4: uhyper, 5: double, 6: int, 7: name }),
});
/** A named, typed value: libvirt's extensible argument and result. */
export type TypedParam = Infer<typeof typedParam>;

/** At most `maxItems` typed parameters. */
export function params(maxItems: number) {
  return array(typedParam, maxItems);
}

/** What stands in the body of a refused call. Domain and network are not used by the daemon. */
export const errorReport = struct({
  code: int,
  domain: int,
  message: maybeText,
  level: int,
  dom: optional(domain),
  str1: maybeText,
  str2: maybeText,
  str3: maybeText,
  int1: int,
  int2: int,
  net: optional(network),
});
