import { ProtocolViolation } from "../fault.ts";
import type { Node, Schema } from "./schema.ts";

/**
 * Decodes exactly one value from `bytes`. Throws {@link ProtocolViolation} naming the field when the bytes end early,
 * a length exceeds its limit, a discriminant is unknown or bytes are left over. No length is believed before it is
 * compared with what is really there, so hostile counts allocate nothing.
 */
export function decode<T>(schema: Schema<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  const value = read(schema, reader);
  if (reader.left > 0) throw new ProtocolViolation(`${reader.left} bytes too many after the value`);
  return value as T;
}

function read(node: Node, from: Reader): unknown {
  switch (node.kind) {
    case "int":
      return from.int32();
    case "uint":
      return from.uint32();
    case "hyper":
      return from.int64();
    case "uhyper":
      return from.uint64();
    case "double":
      return from.double();
    case "uuid":
      return formatUuid(from.raw(16));
    case "text":
      return from.raw(from.count(node.maxBytes, 1)).toString("utf8");
    case "bytes":
      // A copy, because the frame's buffer would otherwise live as long as the caller keeps the value.
      return Uint8Array.from(from.raw(from.count(node.maxBytes, 1)));
    case "optional":
      return readPresence(from) ? read(node.item, from) : null;
    case "array":
      return readItems(node.item, from.count(node.maxItems, 4), from);
    case "vector":
      return readItems(node.item, node.items, from);
    case "struct":
      return readStruct(node.fields, from);
    case "union": {
      const type = from.int32();
      const arm = node.arms.get(type);
      if (arm === undefined) throw new ProtocolViolation(`unknown type ${type} of union`);
      return { type, value: read(arm, from) };
    }
  }
}

function readItems(item: Node, count: number, from: Reader): unknown[] {
  const items: unknown[] = [];
  for (let index = 0; index < count; index++) items.push(readField(String(index), item, from));
  return items;
}

function readStruct(fields: readonly (readonly [string, Node])[], from: Reader): unknown {
  const value: Record<string, unknown> = {};
  for (const [name, node] of fields) value[name] = readField(name, node, from);
  return value;
}

function readField(name: string, node: Node, from: Reader): unknown {
  try {
    return read(node, from);
  } catch (error) {
    if (!(error instanceof ProtocolViolation)) throw error;
    throw new ProtocolViolation(`${name}: ${error.message}`);
  }
}

function readPresence(from: Reader): boolean {
  const flag = from.uint32();
  if (flag > 1) throw new ProtocolViolation(`expected 0 or 1 before an optional value, got ${flag}`);
  return flag === 1;
}

function formatUuid(raw: Buffer): string {
  const hex = raw.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#skip(4));
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#skip(4));
  }

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#skip(8));
  }

  uint64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#skip(8));
  }

  double(): number {
    return this.#bytes.readDoubleBE(this.#skip(8));
  }

  /** A count of units of at least `unitBytes` bytes each, which must fit both its limit and the bytes left. */
  count(max: number, unitBytes: number): number {
    const count = this.uint32();
    if (count > max) throw new ProtocolViolation(`length ${count} exceeds the limit ${max}`);
    if (count * unitBytes > this.left) throw new ProtocolViolation(`length ${count}, but only ${this.left} bytes left`);
    return count;
  }

  /** `size` opaque bytes and their padding. */
  raw(size: number): Buffer {
    const start = this.#skip((size + 3) & ~3);
    return this.#bytes.subarray(start, start + size);
  }

  #skip(size: number): number {
    const start = this.#at;
    if (size > this.left) throw new ProtocolViolation(`needs ${size} bytes, but only ${this.left} are left`);
    this.#at = start + size;
    return start;
  }
}
