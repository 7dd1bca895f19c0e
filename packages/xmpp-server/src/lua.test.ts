import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type LuaValue, lua, luaString } from "./lua.ts";

describe("Lua literals", () => {
  it("read back as the same bytes, whatever the text", () => {
    const texts = fc.array(fc.oneof(fc.string({ unit: "binary" }), fc.string(), fc.constantFrom(...HOSTILE)), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(texts, (given) => {
        const program = given.map((text) => `io.write((${luaString(text)}):gsub(".", hex), "\\n")`).join("\n");
        const read = runLua(`local function hex(c) return ("%02x"):format(c:byte()) end\n${program}`);
        expect(read).toBe(given.map((text) => `${Buffer.from(text).toString("hex")}\n`).join(""));
      }),
      { numRuns: 30 },
    );
  });

  it("are one line of printable ASCII, so that no content can end a literal or begin a comment", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => /^"[ -~]*"$/.test(luaString(text))));
  });

  it("write tables whose keys may be reserved words or no names at all", () => {
    const value: LuaValue = { a: [1, true, "x"], end: 2, "local-zone:": ". static", empty: [], none: {} };
    expect(lua(value)).toBe(
      '{ a = { 1, true, "x" }, ["end"] = 2, ["local-zone:"] = ". static", empty = {}, none = {} }',
    );
    expect(runLua(`local t = ${lua(value)}; io.write(t.a[3], t["end"], t["local-zone:"], #t.empty)`)).toBe(
      "x2. static0",
    );
  });

  it("refuse numbers that Lua has no literal for", () => {
    expect(() => lua(Number.NaN)).toThrow(RangeError);
    expect(() => lua(Number.POSITIVE_INFINITY)).toThrow(RangeError);
  });
});

const HOSTILE = ['"', "\\", '\\"', "\n", "]]", '"; os.exit(1) --', "\0", "\u{1F600}", "\\65", "--[["];

function runLua(program: string): string {
  return execFileSync("lua5.4", ["-"], { input: program, encoding: "utf8" });
}
