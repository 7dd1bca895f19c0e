import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { closest } from "./closest.ts";
import { decode, describeFaults } from "./decode.ts";

const schema = z.strictObject({
  name: z.string(),
  vms: z.array(z.strictObject({ memoryMiB: z.int().min(1, "must be at least 1") })).default([]),
});

function faultsOf(input: unknown): string {
  const decoded = decode(schema, input);
  return decoded.ok ? "" : describeFaults(decoded.error);
}

describe("S1: faults name the field and the remedy", () => {
  it("writes paths as people do", () => {
    expect(faultsOf({ name: "a", vms: [{ memoryMiB: 5 }, { memoryMiB: 0 }] })).toBe(
      "vms[1].memoryMiB: must be at least 1",
    );
  });

  it("suggests the known key for a mistyped one, also deep inside", () => {
    expect(faultsOf({ nam: "a", name: "a" })).toBe('nam: unknown key; did you mean "name"?');
    expect(faultsOf({ name: "a", vms: [{ memoryMiB: 1, memorymib: 2 }] })).toBe(
      'vms[0].memorymib: unknown key; did you mean "memoryMiB"?',
    );
  });

  it("suggests keys of every shape that a union has, also where the input is changed first", () => {
    const shapes = z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("a"), path: z.string() }),
      z.strictObject({ kind: z.literal("b"), endpoint: z.string() }),
    ]);
    const changed = z.strictObject({ store: z.preprocess((value) => value, shapes) });
    const decoded = decode(changed, { store: { kind: "b", endpoint: "x", endpiont: "x" } });
    expect(decoded.ok ? "" : describeFaults(decoded.error)).toBe(
      'store.endpiont: unknown key; did you mean "endpoint"?',
    );
  });

  it("lists the known keys where none is near", () => {
    expect(faultsOf({ name: "a", zzzzzzzz: 1 })).toBe("zzzzzzzz: unknown key; known keys: name, vms");
  });

  it("reports all faults together, and counts those beyond its bound", () => {
    const decoded = decode(schema, { name: "a", vms: Array.from({ length: 50 }, () => ({ memoryMiB: 0 })) });
    expect(decoded.ok ? 0 : decoded.error.length).toBe(21);
    expect(decoded.ok ? "" : decoded.error.at(-1)?.message).toBe("and 30 more faults");
  });

  it("never throws, whatever comes", () => {
    fc.assert(
      fc.property(fc.anything(), (input) => {
        expect(decode(schema, input).ok).toBeTypeOf("boolean");
      }),
    );
  });
});

it("closest: suggests within a third of the word, and nothing beyond", () => {
  expect(closest("memroy", ["memory", "vcpus"])).toBe("memory");
  expect(closest("xyz", ["memory", "vcpus"])).toBeUndefined();
});
