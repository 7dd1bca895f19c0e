import { expect, it } from "vitest";
import { VirtualClock } from "./clock.ts";
import { Shutdown } from "./shutdown.ts";

it("shutdown closes in reverse order, and one part that hangs or fails keeps no other open", async () => {
  const clock = new VirtualClock();
  const shutdown = new Shutdown(clock, 1_000);
  const closed: string[] = [];
  const { promise: hangs, resolve: asked } = Promise.withResolvers<void>();
  shutdown.add("first", () => void closed.push("first"));
  shutdown.add("hangs", () => {
    closed.push("hangs");
    asked();
    return new Promise<void>(() => {});
  });
  shutdown.add("fails", () => {
    closed.push("fails");
    return Promise.reject(new Error("no"));
  });
  const report = shutdown.run();
  await hangs;
  clock.advance(1_000);
  expect(await report).toEqual({ late: ["hangs"], failed: ["fails"] });
  expect(closed).toEqual(["fails", "hangs", "first"]);
  expect(shutdown.run()).toBe(shutdown.run());
});
