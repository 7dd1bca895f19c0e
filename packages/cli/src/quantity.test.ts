import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseCount, parseDisk, parseDuration, parseMemory } from "./quantity.ts";

describe("quantities", () => {
  it.each([
    [parseDuration, "90", 90_000],
    [parseDuration, "90s", 90_000],
    [parseDuration, "1.5h", 5_400_000],
    [parseDuration, " 250 ms ", 250],
    [parseDuration, "2d", 172_800_000],
    [parseMemory, "512", 512],
    [parseMemory, "4GiB", 4_096],
    [parseMemory, "0.5GiB", 512],
    [parseMemory, "-1MiB", -1],
    [parseDisk, "20", 20],
    [parseDisk, "1TiB", 1_024],
    [parseCount, "2", 2],
    [parseCount, "2.5", 2.5],
    [parseCount, "-1", -1],
  ])("%o of %j is %d", (parse, text, value) => {
    expect(parse(text)).toBe(value);
  });

  it.each([
    "",
    " ",
    "GiB",
    "4 G",
    "4gib",
    "4GB",
    "1e3MiB",
    "0x10",
    "1,5GiB",
    "4GiB4",
    "constructor",
    "5toString",
    "5__proto__",
  ])("refuses %j as a size, saying what is expected", (text) => {
    expect(() => parseMemory(text)).toThrow(/expected a size such as 512MiB or 4GiB/);
    expect(() => parseDisk(text)).toThrow(/expected a size such as 20GiB or 1TiB/);
  });

  it.each(["", "five", "1 2", "Infinity", "NaN"])("refuses %j as a number", (text) => {
    expect(() => parseCount(text)).toThrow(/expected a number/);
  });

  it("S1: gives a finite number or refuses, whatever it is given", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const parse of [parseDuration, parseMemory, parseDisk, parseCount]) {
          try {
            expect(Number.isFinite(parse(text))).toBe(true);
          } catch (cause) {
            expect(cause).toMatchObject({ code: "commander.invalidArgument" });
          }
        }
      }),
    );
  });
});
