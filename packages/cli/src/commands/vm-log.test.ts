import { ok, type Result } from "@muster/base";
import type { Refusal, SerialLogPart } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { forTerminal, logParts } from "./vm-log.ts";

/** A log that grows, and is read in parts of `max` bytes. */
function logOf(content: { text: string }, max: number, asked: (number | undefined)[] = []) {
  return {
    async vmLog(_vm: string, offset: number | undefined): Promise<Result<SerialLogPart, Refusal>> {
      asked.push(offset);
      const bytes = Buffer.from(content.text);
      const from = Math.min(offset ?? Math.max(0, bytes.length - max), bytes.length);
      const data = bytes.subarray(from, from + max);
      return ok({ data: data.toString("base64"), offset: from, next: from + data.length, size: bytes.length });
    },
  };
}

describe("muster vm log", () => {
  it("reads all of a log part by part, and of a long one its last 64 KiB", async () => {
    const content = { text: "0123456789".repeat(10_000) };
    let text = "";
    for await (const part of logParts(logOf(content, 6_144), "web", 0, undefined)) text += part;
    expect(text).toBe(content.text);
    text = "";
    for await (const part of logParts(logOf(content, 6_144), "web", undefined, undefined)) text += part;
    expect(text).toBe(content.text.slice(-65_536));
  });

  it("follows a log as it grows, and begins again with one that began anew", async () => {
    const content = { text: "first " };
    const end = new AbortController();
    let text = "";
    for await (const part of logParts(logOf(content, 4), "web", 0, end.signal)) {
      text += part;
      if (text === "first ") content.text = "2nd";
      if (text.endsWith("2nd")) end.abort();
    }
    expect(text).toBe("first 2nd");
  });

  it("lets a guest neither move the cursor nor colour the terminal", () => {
    expect(forTerminal("\u001b[2J\u001b[31mred\u001b[0m\r\nnext\u0007\u009b\ttab")).toBe("red\nnext??\ttab");
  });
});
