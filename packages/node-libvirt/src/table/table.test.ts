import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyValue } from "../testing/any-value.ts";
import { decode } from "../xdr/decode.ts";
import { encode } from "../xdr/encode.ts";
import type { Schema } from "../xdr/schema.ts";
import { type EventKind, eventByNumber, eventKinds } from "./event.ts";
import type { Procedure } from "./procedure.ts";
import { procedureTable } from "./procedures.ts";

const procedures = Object.values<Procedure<unknown, unknown>>(procedureTable);
const events = Object.values<EventKind<unknown>>(eventKinds);

function hasRoundTrip(schema: Schema<unknown>): void {
  fc.assert(
    fc.property(anyValue(schema), (value) => {
      expect(decode(schema, encode(schema, value))).toEqual(value);
    }),
    { numRuns: 5 },
  );
}

describe("the table of procedures", () => {
  it("has each number once per program, and names each row by its key", () => {
    const numbers = procedures.map(({ program, number }) => `${program}/${number}`);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const [key, { name }] of Object.entries(procedureTable)) expect(name).toBe(key);
  });

  it.each(procedures.map((row) => [row.name, row] as const))("round-trips any arguments and results: %s", (_, row) => {
    hasRoundTrip(row.args);
    hasRoundTrip(row.result);
  });
});

describe("the table of events", () => {
  it("has each message number once, and each id once per source", () => {
    expect(new Set(events.map(({ number }) => number)).size).toBe(events.length);
    expect(new Set(events.map(({ source, id }) => `${source}/${id}`)).size).toBe(events.length);
    for (const { name, number } of events) expect(eventByNumber(number)).toBe(name);
    expect(eventByNumber(9_999)).toBeUndefined();
  });

  it.each(events.map((row) => [row.name, row] as const))("round-trips any message: %s", (_, row) => {
    hasRoundTrip(row.body);
  });
});
