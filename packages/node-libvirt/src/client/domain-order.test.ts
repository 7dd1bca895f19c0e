import { describe, expect, it } from "vitest";
import { Overloaded } from "../fault.ts";
import { DomainOrder } from "./domain-order.ts";

describe("the order of one domain's jobs", () => {
  it("gives turns one at a time, in the order of the calls", async () => {
    const order = new DomainOrder();
    const log: string[] = [];
    const jobs = ["a", "b", "c"].map(async (name) => {
      const release = await order.enter("vm").turn;
      log.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      log.push(`${name} ends`);
      release();
    });
    await Promise.all(jobs);
    expect(log).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
    expect(order.busy).toBe(0);
  });

  it("lets different domains go side by side", async () => {
    const order = new DomainOrder();
    await order.enter("one").turn;
    await order.enter("two").turn;
    expect(order.busy).toBe(2);
  });

  it("skips whoever left the line, and tells who came too late to leave", async () => {
    const order = new DomainOrder();
    const release = await order.enter("vm").turn;
    const gone = order.enter("vm");
    const next = order.enter("vm");
    expect(gone.leave()).toBe(true);
    release();
    release();
    await next.turn;
    expect(next.leave()).toBe(false);
  });

  it("refuses the 65th in line", async () => {
    const order = new DomainOrder();
    await order.enter("vm").turn;
    for (let count = 0; count < 64; count++) order.enter("vm");
    expect(() => order.enter("vm")).toThrow(Overloaded);
  });
});
