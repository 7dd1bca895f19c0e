import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type Column, formatList, formatObject, formatRow } from "./format.ts";

type Item = { readonly name: string; readonly size: number };
const COLUMNS: readonly Column<Item>[] = [
  { heading: "NAME", value: ({ name }) => name },
  { heading: "SIZE", value: ({ size }) => size },
];
const ITEMS: readonly Item[] = [
  { name: "web", size: 2 },
  { name: 'a "quoted", one', size: 10 },
];

describe("formatList", () => {
  it("gives people columns and machines whole objects", () => {
    expect(formatList(ITEMS, COLUMNS, "table")).toBe(
      'NAME             SIZE\nweb              2\na "quoted", one  10\n',
    );
    expect(formatList(ITEMS, COLUMNS, "csv")).toBe('NAME,SIZE\nweb,2\n"a ""quoted"", one",10\n');
    expect(JSON.parse(formatList(ITEMS, COLUMNS, "json"))).toEqual(ITEMS);
    expect(parse(formatList(ITEMS, COLUMNS, "yaml"))).toEqual(ITEMS);
  });

  it("prints an empty list as one: headings for people, nothing in it for machines", () => {
    expect(formatList([], COLUMNS, "table")).toBe("NAME  SIZE\n");
    expect(formatList([], COLUMNS, "csv")).toBe("NAME,SIZE\n");
    expect(JSON.parse(formatList([], COLUMNS, "json"))).toEqual([]);
    expect(parse(formatList([], COLUMNS, "yaml"))).toEqual([]);
  });

  it("keeps what others wrote from the terminal, and from nobody else", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (name) => {
        const shown = formatList([{ name, size: 1 }], COLUMNS, "table");
        expect(shown.split("\n")).toHaveLength(3);
        expect(shown.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
        expect(JSON.parse(formatList([{ name, size: 1 }], COLUMNS, "json"))).toEqual([{ name, size: 1 }]);
      }),
    );
    expect(formatObject({ status: "\u001b[2Jgone" }, "table")).toBe("status  ?[2Jgone\n");
  });

  it("prints lists of any length", () => {
    const many = Array.from({ length: 200_000 }, (_, size) => ({ name: "n", size }));
    expect(formatList(many, COLUMNS, "table").split("\n")).toHaveLength(200_002);
  });
});

describe("formatObject", () => {
  const VM = { name: "web", place: { kind: "host", host: "h1" }, tags: ["a", "b"], parts: [{ x: 1 }], gone: undefined };

  it("flattens an object for people and for one row of CSV", () => {
    expect(formatObject(VM, "table")).toBe(
      'name        web\nplace.kind  host\nplace.host  h1\ntags        a, b\nparts       {"x":1}\n',
    );
    expect(formatObject(VM, "csv")).toBe('name,place.kind,place.host,tags,parts\nweb,host,h1,"a, b","{""x"":1}"\n');
    expect(JSON.parse(formatObject(VM, "json"))).toMatchObject({ place: { host: "h1" } });
    expect(parse(formatObject(VM, "yaml"))).toMatchObject({ place: { host: "h1" } });
  });
});

describe("formatRow", () => {
  it("quotes what CSV must", () => {
    expect(formatRow(["a", "b,c", 'd"e'])).toBe('a,"b,c","d""e"\n');
  });
});
