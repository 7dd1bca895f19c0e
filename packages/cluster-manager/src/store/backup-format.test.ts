import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BackupReader, writeBackup } from "./backup-format.ts";

const HEAD = { site: "alpha.example", term: 7, manager: "a", takenAt: "2027-01-01T00:00:00.000Z" };

async function written(records: readonly (readonly [string, unknown])[]): Promise<string[]> {
  const pieces: string[] = [];
  const texts = (async function* () {
    for (const [key, value] of records) yield [key, JSON.stringify(value)] as const;
  })();
  for await (const piece of writeBackup(HEAD, texts)) pieces.push(piece);
  return pieces;
}

/** What a reader makes of it: the records, or the first fault; nothing where no end came. */
function read(text: string): readonly (readonly [string, unknown])[] | string | undefined {
  const reader = new BackupReader();
  const records: (readonly [string, unknown])[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    const part = reader.take(line);
    if (!part.ok) return part.error;
    if (part.value.kind === "record") records.push([part.value.key, part.value.value]);
    if (part.value.kind === "end") return records;
  }
  return undefined;
}

const recordsArbitrary = fc
  .uniqueArray(fc.tuple(fc.string({ minLength: 1 }), fc.jsonValue()), { selector: ([key]) => key, maxLength: 30 })
  .map((records) => records.sort(([left], [right]) => (left < right ? -1 : 1)));

describe("the format of a backup", () => {
  it("reads back what was written, whatever keys and values are", async () => {
    await fc.assert(
      fc.asyncProperty(recordsArbitrary, async (records) => {
        expect(read((await written(records)).join(""))).toEqual(JSON.parse(JSON.stringify(records)));
      }),
    );
  });

  it("is nothing any more once a character of it is changed or a part of it is missing", async () => {
    const text = (
      await written([
        ["host/h1", { name: "h1" }],
        ["vm/a", 1],
        ["vm/b", [2, "x"]],
      ])
    ).join("");
    fc.assert(
      fc.property(fc.nat(text.length - 2), fc.constantFrom("0", "x", " ", '"', "\n"), (at, other) => {
        fc.pre(text[at] !== other);
        expect(Array.isArray(read(text.slice(0, at) + other + text.slice(at + 1)))).toBe(false);
      }),
    );
    fc.assert(
      fc.property(fc.nat(text.length - 2), (at) => {
        expect(Array.isArray(read(text.slice(0, at)))).toBe(false);
      }),
    );
  });

  it("S2: is handed on piece by piece, none much longer than one record", async () => {
    const records = Array.from(
      { length: 4_000 },
      (_, index) => [`n/${String(index).padStart(4, "0")}`, "x".repeat(500)] as const,
    );
    const pieces = await written(records);
    expect(pieces.length).toBeGreaterThan(20);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(70_000);
  });
});
