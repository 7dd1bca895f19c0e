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

  it("says what to give where a field is missing or of the wrong kind", () => {
    expect(faultsOf({})).toBe("name: is missing: give a string");
    expect(faultsOf({ name: 7 })).toBe("name: must be a string, not number");
    expect(faultsOf([])).toBe("must be an object, not array");
    expect(faultsOf(undefined)).toBe("must be an object");
  });

  it("says the bounds and the choices", () => {
    const bounded = z.strictObject({
      priority: z.int().min(0).max(9),
      note: z.string().min(2).max(5),
      burst: z.enum(["never", "allow"]),
      own: z.int().max(3, "three are enough"),
    });
    const said = (input: unknown): string => {
      const decoded = decode(bounded, input);
      return decoded.ok ? "" : describeFaults(decoded.error);
    };
    expect(said({ priority: 11, note: "a", burst: "soon", own: 4 })).toBe(
      "priority: must be at most 9; note: must have at least 2 characters; " +
        "burst: must be one of never, allow; own: three are enough",
    );
    expect(said({ priority: -1, note: "abcdef", burst: "never", own: 1 })).toBe(
      "priority: must be at least 0; note: must have at most 5 characters",
    );
  });

  it("refuses a key that schemas pass over in silence, wherever it is", () => {
    const labels = z.strictObject({ labels: z.record(z.string(), z.string()) });
    const decoded = decode(labels, JSON.parse('{"labels":{"zone":"east","__proto__":"west"}}'));
    expect(decoded.ok ? "" : describeFaults(decoded.error)).toBe("labels.__proto__: is no name to use: choose another");
    expect(decode(labels, { labels: { zone: "east" } }).ok).toBe(true);
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
