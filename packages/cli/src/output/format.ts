import { stringify as csv } from "csv-stringify/sync";
import { stringify as yaml } from "yaml";
import { printable } from "./printable.ts";
import { renderTable } from "./table.ts";

export const FORMATS = ["table", "json", "yaml", "csv"] as const;
export type Format = (typeof FORMATS)[number];

/** A column of a list: its heading and what stands in it. */
export type Column<Item> = { readonly heading: string; readonly value: (item: Item) => string | number };

/** A list in the format that was asked for; machines get whole objects, people and spreadsheets the columns. */
export function formatList<Item>(items: readonly Item[], columns: readonly Column<Item>[], format: Format): string {
  if (format === "json") return `${JSON.stringify(items, null, 2)}\n`;
  if (format === "yaml") return yaml(items);
  const headings = columns.map(({ heading }) => heading);
  const rows = items.map((item) => columns.map(({ value }) => String(value(item))));
  return format === "csv" ? csv([headings, ...rows]) : renderTable(headings, rows);
}

/** One row of CSV (RFC 4180, with the line ends of this system). */
export function formatRow(cells: readonly string[]): string {
  return csv([[...cells]]);
}

/** One object: whole for machines, `name  value` lines for people. */
export function formatObject(value: object, format: Format): string {
  if (format === "json") return `${JSON.stringify(value, null, 2)}\n`;
  if (format === "yaml") return yaml(value);
  const entries = flatten(value);
  if (format === "csv") return csv([entries.map(([name]) => name), entries.map(([, text]) => text)]);
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  return entries.map(([name, text]) => `${name.padEnd(width)}  ${printable(text)}\n`).join("");
}

function flatten(value: object, prefix = ""): [string, string][] {
  return Object.entries(value).flatMap(([name, part]): [string, string][] => {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    if (part === undefined) return [];
    if (Array.isArray(part))
      return [[path, part.map((item) => (typeof item === "object" ? JSON.stringify(item) : String(item))).join(", ")]];
    if (typeof part === "object" && part !== null) return flatten(part, path);
    return [[path, String(part)]];
  });
}
