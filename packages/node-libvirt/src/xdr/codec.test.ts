import * as oracle from "@stellar/js-xdr";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ArgumentRefused, ProtocolViolation } from "../fault.ts";
import { errorReport, typedParam } from "../table/fields.ts";
import type { Procedure } from "../table/procedure.ts";
import { procedureTable } from "../table/procedures.ts";
import { decode } from "./decode.ts";
import { encode } from "./encode.ts";
import {
  array,
  bytes,
  double,
  hyper,
  int,
  optional,
  type Schema,
  struct,
  text,
  uhyper,
  uint,
  union,
  uuid,
  vector,
} from "./schema.ts";

const mixed = struct({
  a: int,
  b: uint,
  c: hyper,
  d: uhyper,
  e: double,
  f: text(64),
  g: bytes(64),
  h: array(int, 16),
  i: vector(int, 3),
  j: optional(text(64)),
  k: union<{ type: 1; value: number } | { type: 7; value: string }>({ 1: int, 7: text(64) }),
});

const utf8 = (value: string) => new TextEncoder().encode(value);
const oracleText = oracle.string(64);
const oracleMixed = oracle.struct("Mixed", {
  a: oracle.int32(),
  b: oracle.uint32(),
  c: oracle.int64(),
  d: oracle.uint64(),
  e: oracle.double(),
  f: oracleText,
  g: oracle.varOpaque(64),
  h: oracle.array(oracle.int32(), 16),
  i: oracle.fixedArray(oracle.int32(), 3),
  j: oracle.option(oracleText),
  k: oracle.union("K", {
    switchOn: oracle.int32(),
    cases: [
      oracle.case("number", 1, oracle.field("number", oracle.int32())),
      oracle.case("text", 7, oracle.field("text", oracleText)),
    ],
  }),
});

const anyText = fc.string({ unit: "binary", maxLength: 16 }).filter((value) => !value.includes("\0"));
const anyInt = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
const anyMixed = fc.record({
  a: anyInt,
  b: fc.nat({ max: 0xffff_ffff }),
  c: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  d: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  e: fc.double({ noNaN: true }),
  f: anyText,
  g: fc.uint8Array({ maxLength: 64 }),
  h: fc.array(anyInt, { maxLength: 16 }),
  i: fc.tuple(anyInt, anyInt, anyInt),
  j: fc.option(anyText),
  k: fc.oneof(
    fc.record({ type: fc.constant(1 as const), value: anyInt }),
    fc.record({ type: fc.constant(7 as const), value: anyText }),
  ),
});

describe("the codec against an independent one", () => {
  it("writes the same bytes for any value", () => {
    fc.assert(
      fc.property(anyMixed, (value) => {
        const k =
          value.k.type === 1 ? { type: 1, number: value.k.value } : { type: 7, text: utf8(String(value.k.value)) };
        const expected = oracleMixed.encode({
          ...value,
          f: utf8(value.f),
          i: [...value.i],
          j: value.j === null ? null : utf8(value.j),
          k,
        } as never);
        expect(Buffer.from(encode(mixed, value))).toEqual(Buffer.from(expected));
      }),
    );
  });

  it("reads back any value it wrote", () => {
    fc.assert(
      fc.property(anyMixed, (value) => {
        expect(decode(mixed, encode(mixed, value))).toEqual(value);
      }),
    );
  });
});

describe("decoding what cannot be trusted", () => {
  const schemas: readonly Schema<unknown>[] = [
    mixed,
    errorReport,
    ...Object.values<Procedure<unknown, unknown>>(procedureTable).map((row) => row.result),
  ];

  it("turns any bytes into a value or a violation, for every result of the table", () => {
    const anyBytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(fc.constantFrom(...schemas), anyBytes, (schema, raw) => {
        try {
          decode(schema, raw);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolViolation);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("refuses every truncation of a value", () => {
    fc.assert(
      fc.property(anyMixed, fc.double({ min: 0, max: 0.999, noNaN: true }), (value, share) => {
        const whole = encode(mixed, value);
        const cut = whole.subarray(0, Math.floor(whole.length * share));
        expect(() => decode(mixed, cut)).toThrow(ProtocolViolation);
      }),
    );
  });

  it("refuses bytes left over", () => {
    expect(() => decode(int, Buffer.alloc(8))).toThrow("4 bytes too many");
  });

  it("refuses lengths over the limit and lengths over what is there, allocating nothing", () => {
    const huge = Buffer.from([0x7f, 0xff, 0xff, 0xff]);
    expect(() => decode(text(64), huge)).toThrow("length 2147483647 exceeds the limit 64");
    expect(() => decode(array(int, 0xffff_ffff), huge)).toThrow("only 0 bytes left");
    expect(() => decode(bytes(64), Buffer.from([0, 0, 0, 9, 1, 2, 3, 4]))).toThrow("only 4 bytes left");
  });

  it("refuses unknown arms of a union and optional flags other than 0 and 1", () => {
    expect(() => decode(typedParam, Buffer.from([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]))).toThrow("unknown type 9");
    expect(() => decode(optional(int), Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]))).toThrow("expected 0 or 1");
  });

  it("keeps a value when the frame it came from is overwritten", () => {
    const frame = encode(bytes(8), Uint8Array.of(1, 2, 3));
    const value = decode(bytes(8), frame);
    frame.fill(0xff);
    expect(value).toEqual(Uint8Array.of(1, 2, 3));
  });
});

describe("encoding what does not fit", () => {
  const refused: readonly [string, Schema<unknown>, unknown, string][] = [
    ["a fraction", struct({ vcpus: uint }), { vcpus: 1.5 }, "vcpus: expected a whole number"],
    ["a negative unsigned", struct({ vcpus: uint }), { vcpus: -1 }, "vcpus: expected a whole number"],
    ["not a number", int, Number.NaN, "got NaN"],
    ["a missing field", struct({ flags: uint }), {}, "flags: expected a whole number"],
    ["a number for a bigint", struct({ memoryKiB: uhyper }), { memoryKiB: 5 }, "memoryKiB: expected a bigint"],
    ["a bigint over 64 bits", uhyper, 1n << 64n, "expected a bigint"],
    ["a NUL in text", struct({ dom: struct({ name: text(9) }) }), { dom: { name: "a\0b" } }, "dom.name: text must not"],
    ["text over its limit in bytes", text(4), "ééé", "6 bytes exceed the limit 4"],
    ["a UUID without form", struct({ uuid }), { uuid: "42" }, 'uuid: expected a UUID, got "42"'],
    ["a list over its limit", array(int, 2), [1, 2, 3], "3 items exceed the limit 2"],
    ["an item", struct({ list: array(int, 2) }), { list: [1, "x"] }, "list.1: expected a whole number from"],
    ["an unknown arm", typedParam, { field: "x", value: { type: 9, value: 1 } }, "value: unknown type of union"],
    ["bytes over their limit", bytes(1), Uint8Array.of(1, 2), "2 bytes exceed"],
    ["not an object", struct({ a: int }), null, "expected an object, got null"],
  ];

  it.each(refused)("names the field and the reason: %s", (_, schema, value, message) => {
    expect(() => encode(schema, value)).toThrow(ArgumentRefused);
    expect(() => encode(schema, value)).toThrow(message);
  });

  it("refuses a message over the frame limit, however its parts fit", () => {
    const part = "x".repeat(1_000);
    const many = Array.from({ length: 100 }, () => part);
    expect(() => encode(array(text(1_000), 200), many, 0, 50_000)).toThrow("exceeds the limit of 50000 bytes");
  });

  it("refuses an array of items that take no room, whose count nothing could check", () => {
    expect(() => array(struct({}), 9)).toThrow(TypeError);
  });
});
