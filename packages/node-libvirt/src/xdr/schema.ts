/**
 * What a value looks like in XDR (RFC 4506), as plain data. `encode` and `decode` walk these nodes, so the protocol
 * table is the only place where a layout is written down.
 */
export type Node =
  | { readonly kind: "int" | "uint" | "hyper" | "uhyper" | "double" | "uuid" }
  | { readonly kind: "text"; readonly maxBytes: number }
  | { readonly kind: "bytes"; readonly maxBytes: number }
  | { readonly kind: "array"; readonly item: Node; readonly maxItems: number }
  | { readonly kind: "vector"; readonly item: Node; readonly items: number }
  | { readonly kind: "optional"; readonly item: Node }
  | { readonly kind: "struct"; readonly fields: readonly (readonly [name: string, node: Node])[] }
  | { readonly kind: "union"; readonly arms: ReadonlyMap<number, Node> };

declare const valueType: unique symbol;

/** A node that knows, for the compiler only, which TypeScript value it stands for. */
export type Schema<T> = Node & { readonly [valueType]?: T };

/** The TypeScript value a schema encodes and decodes. */
export type Infer<S> = S extends { readonly [valueType]?: infer T } ? T : never;

/** Field names with their schemas, in wire order. */
export type Fields = Readonly<Record<string, Node>>;

/** The object type that `struct(fields)` describes. */
export type InferFields<F extends Fields> = { readonly [K in keyof F]: Infer<F[K]> };

/** Signed 32 bits, as a number. C's `char` and `short` travel as this too (RFC 4506 section 4.1). */
export const int: Schema<number> = { kind: "int" };
/** Unsigned 32 bits, as a number. */
export const uint: Schema<number> = { kind: "uint" };
/** Signed 64 bits, as a bigint. */
export const hyper: Schema<bigint> = { kind: "hyper" };
/** Unsigned 64 bits, as a bigint. */
export const uhyper: Schema<bigint> = { kind: "uhyper" };
/** IEEE 754 double. */
export const double: Schema<number> = { kind: "double" };
/** 16 opaque bytes, as the usual lower-case text with dashes. */
export const uuid: Schema<string> = { kind: "uuid" };

/** A UTF-8 string of at most `maxBytes` bytes. */
export function text(maxBytes: number): Schema<string> {
  return { kind: "text", maxBytes };
}

/** Variable-length opaque data of at most `maxBytes` bytes. */
export function bytes(maxBytes: number): Schema<Uint8Array> {
  return { kind: "bytes", maxBytes };
}

/** A counted array of at most `maxItems` items. The item must take room on the wire, so that a count can be checked. */
export function array<T>(item: Schema<T>, maxItems: number): Schema<readonly T[]> {
  if (item.kind === "struct" && item.fields.length === 0) throw new TypeError("an array needs items that take room");
  return { kind: "array", item, maxItems };
}

/** An array of exactly `items` items, without a count on the wire. */
export function vector<T>(item: Schema<T>, items: number): Schema<readonly T[]> {
  return { kind: "vector", item, items };
}

/** A value that may be absent (XDR's pointer): `null` when it is. */
export function optional<T>(item: Schema<T>): Schema<T | null> {
  return { kind: "optional", item };
}

/** Fields one after the other. JavaScript keeps the order of the keys, which is the order on the wire. */
export function struct<const F extends Fields>(fields: F): Schema<InferFields<F>> {
  return { kind: "struct", fields: Object.entries(fields) };
}

/** A union: a signed discriminant, then the arm it selects. Values are `{ type, value }`. */
export function union<T extends { readonly type: number; readonly value: unknown }>(
  arms: Readonly<Record<T["type"], Node>>,
): Schema<T> {
  return { kind: "union", arms: new Map(Object.entries<Node>(arms).map(([type, node]) => [Number(type), node])) };
}
