import { constants, getPriority } from "node:os";
import { describe, expect, it } from "vitest";
import { Urgency } from "./urgency.ts";

describe("urgency of moves", () => {
  it("lasts as long as one is under way, and leaves the process as it was", () => {
    const usual = getPriority();
    // Only root may have more than its share.
    const urgent = process.getuid?.() === 0 ? Math.min(usual, constants.priority.PRIORITY_ABOVE_NORMAL) : usual;
    const urgency = new Urgency();
    urgency.begin("a");
    urgency.begin("b");
    expect(getPriority()).toBe(urgent);
    urgency.end("a");
    urgency.end("a");
    expect(getPriority()).toBe(urgent);
    urgency.end("b");
    expect(getPriority()).toBe(usual);
  });
});
