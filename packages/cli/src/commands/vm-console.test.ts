import { describe, expect, it } from "vitest";
import { EscapeReader } from "./vm-console.ts";

function read(...parts: string[]): string {
  const reader = new EscapeReader();
  let typed = "";
  for (const part of parts) {
    const keys = reader.read(Buffer.from(part));
    typed += keys.typed;
    if (keys.leave) return `${typed}|left`;
  }
  return typed;
}

describe("leaving a console", () => {
  it.each([
    ["at once", ["~."], "|left"],
    ["after a line", ["ls\r~."], "ls\r|left"],
    ["key by key", ["l", "s", "\r", "~", "."], "ls\r|left"],
    ["not within a line", ["cd ~.\r"], "cd ~.\r"],
    ["not with two tildes", ["~~.\r"], "~.\r"],
    ["not with another key", ["~a\r", "~\r"], "~a\r~\r"],
  ])("%s", (_when, parts, typed) => {
    expect(read(...parts)).toBe(typed);
  });
});
