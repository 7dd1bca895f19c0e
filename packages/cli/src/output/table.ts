import { printable } from "./printable.ts";

/** A plain table: columns as wide as their widest cell, two spaces between, no trailing blanks. */
export function renderTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const shown = rows.map((row) => row.map(printable));
  const widths = headings.map((heading, column) =>
    shown.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), heading.length),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return `${[line(headings), ...shown.map(line)].join("\n")}\n`;
}
