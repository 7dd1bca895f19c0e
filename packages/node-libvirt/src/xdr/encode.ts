import { ArgumentRefused } from "../fault.ts";
import type { Node, Schema } from "./schema.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const INT_MIN = -0x8000_0000;
const INT_MAX = 0x7fff_ffff;
const UINT_MAX = 0xffff_ffff;
const HYPER_MIN = -(1n << 63n);
const HYPER_MAX = (1n << 63n) - 1n;
const UHYPER_MAX = (1n << 64n) - 1n;

/**
 * Encodes `value` by its schema, leaving `headroom` bytes free at the front for the caller's header.
 * Throws {@link ArgumentRefused} naming the field when a value does not fit; `maxBytes` bounds the result.
 */
export function encode<T>(schema: Schema<T>, value: T, headroom = 0, maxBytes = 1 << 25): Buffer<ArrayBuffer> {
  const writer = new Writer(headroom, maxBytes);
  write(schema, value, writer);
  return writer.take();
}

function write(node: Node, value: unknown, to: Writer): void {
  switch (node.kind) {
    case "int":
      to.int32(whole(value, INT_MIN, INT_MAX));
      return;
    case "uint":
      to.uint32(whole(value, 0, UINT_MAX));
      return;
    case "hyper":
      to.int64(wholeBig(value, HYPER_MIN, HYPER_MAX));
      return;
    case "uhyper":
      to.int64(wholeBig(value, 0n, UHYPER_MAX));
      return;
    case "double":
      if (typeof value !== "number") throw refuse(`expected a number, got ${shape(value)}`);
      to.double(value);
      return;
    case "uuid":
      if (typeof value !== "string" || !UUID.test(value)) throw refuse(`expected a UUID, got ${shape(value)}`);
      to.raw(Buffer.from(value.replaceAll("-", ""), "hex"));
      return;
    case "text":
      writeText(value, node.maxBytes, to);
      return;
    case "bytes":
      if (!(value instanceof Uint8Array)) throw refuse(`expected bytes, got ${shape(value)}`);
      if (value.byteLength > node.maxBytes) throw refuse(`${value.byteLength} bytes exceed the limit ${node.maxBytes}`);
      to.uint32(value.byteLength);
      to.raw(value);
      return;
    case "optional": {
      const present = value !== null && value !== undefined;
      to.uint32(present ? 1 : 0);
      if (present) write(node.item, value, to);
      return;
    }
    default:
      writeCompound(node, value, to);
  }
}

function writeCompound(
  node: Extract<Node, { kind: "array" | "vector" | "struct" | "union" }>,
  value: unknown,
  to: Writer,
) {
  switch (node.kind) {
    case "array":
      if (!Array.isArray(value)) throw refuse(`expected a list, got ${shape(value)}`);
      if (value.length > node.maxItems) throw refuse(`${value.length} items exceed the limit ${node.maxItems}`);
      to.uint32(value.length);
      writeItems(node.item, value, to);
      return;
    case "vector":
      if (!Array.isArray(value) || value.length !== node.items) throw refuse(`expected a list of ${node.items} items`);
      writeItems(node.item, value, to);
      return;
    case "struct": {
      if (!isRecord(value)) throw refuse(`expected an object, got ${shape(value)}`);
      for (const [name, field] of node.fields) writeField(name, field, value[name], to);
      return;
    }
    case "union": {
      const type = isRecord(value) ? value.type : undefined;
      const arm = typeof type === "number" ? node.arms.get(type) : undefined;
      if (!isRecord(value) || typeof type !== "number" || arm === undefined) throw refuse("unknown type of union");
      to.int32(type);
      writeField("value", arm, value.value, to);
      return;
    }
  }
}

function writeItems(item: Node, values: readonly unknown[], to: Writer): void {
  for (const [index, value] of values.entries()) writeField(String(index), item, value, to);
}

function writeField(name: string, node: Node, value: unknown, to: Writer): void {
  try {
    write(node, value, to);
  } catch (error) {
    if (!(error instanceof ValueRefused)) throw error;
    throw refuse(error.problem, error.field === "" ? name : `${name}.${error.field}`);
  }
}

function writeText(value: unknown, maxBytes: number, to: Writer): void {
  if (typeof value !== "string") throw refuse(`expected text, got ${shape(value)}`);
  // The daemon reads C strings: whatever follows a NUL would be dropped without a word.
  if (value.includes("\0")) throw refuse("text must not contain a NUL character");
  const size = Buffer.byteLength(value);
  if (size > maxBytes) throw refuse(`${size} bytes exceed the limit ${maxBytes}`);
  to.text(value, size);
}

class ValueRefused extends ArgumentRefused {
  readonly problem: string;

  constructor(field: string, problem: string) {
    super(field, problem);
    this.problem = problem;
  }
}

function refuse(problem: string, field = ""): ValueRefused {
  return new ValueRefused(field, problem);
}

function whole(value: unknown, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw refuse(`expected a whole number from ${min} to ${max}, got ${shape(value)}`);
  }
  return value;
}

function wholeBig(value: unknown, min: bigint, max: bigint): bigint {
  if (typeof value !== "bigint" || value < min || value > max) {
    throw refuse(`expected a bigint from ${min} to ${max}, got ${shape(value)}`);
  }
  return value;
}

function shape(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  return typeof value === "number" || typeof value === "bigint" ? String(value) : typeof value;
}

/** Any object; `type` and `value` are what a union's values have. */
type UnionLike = Readonly<Record<string, unknown>> & { readonly type?: unknown; readonly value?: unknown };

function isRecord(value: unknown): value is UnionLike {
  return typeof value === "object" && value !== null;
}

/** A buffer that grows by doubling up to a limit. It starts as zeros, so padding needs no writing. */
class Writer {
  #buffer: Buffer<ArrayBuffer>;
  #at: number;
  readonly #maxBytes: number;

  constructor(headroom: number, maxBytes: number) {
    this.#buffer = Buffer.alloc(headroom + 256);
    this.#at = headroom;
    this.#maxBytes = maxBytes + headroom;
  }

  int32(value: number): void {
    this.#at = this.#room(4).writeInt32BE(value, this.#at);
  }

  uint32(value: number): void {
    this.#at = this.#room(4).writeUInt32BE(value, this.#at);
  }

  int64(value: bigint): void {
    this.#at = this.#room(8).writeBigUInt64BE(BigInt.asUintN(64, value), this.#at);
  }

  double(value: number): void {
    this.#at = this.#room(8).writeDoubleBE(value, this.#at);
  }

  /** Opaque bytes, padded to a multiple of four. */
  raw(value: Uint8Array): void {
    const padded = pad(value.byteLength);
    this.#room(padded).set(value, this.#at);
    this.#at += padded;
  }

  text(value: string, size: number): void {
    this.uint32(size);
    const padded = pad(size);
    this.#room(padded).write(value, this.#at);
    this.#at += padded;
  }

  take(): Buffer<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#at);
  }

  #room(size: number): Buffer<ArrayBuffer> {
    const needed = this.#at + size;
    if (needed > this.#maxBytes) throw refuse(`the message exceeds the limit of ${this.#maxBytes} bytes`);
    if (needed > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(grown);
      this.#buffer = grown;
    }
    return this.#buffer;
  }
}

function pad(size: number): number {
  return (size + 3) & ~3;
}
