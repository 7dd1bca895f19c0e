import { describe, expect, it } from "vitest";
import { pauseMsAt } from "./pause-limit.ts";

describe("the pause at the end of a move", () => {
  it("is short for a guest that is sent over in few passes, and never longer than QEMU's own", () => {
    expect([0, 1, 4, 5, 8, 9, 12, 13, 1_000].map(pauseMsAt)).toEqual([50, 50, 50, 100, 100, 200, 200, 300, 300]);
  });
});
