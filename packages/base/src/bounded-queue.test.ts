import fc from "fast-check";
import { expect, it } from "vitest";
import { BoundedQueue } from "./bounded-queue.ts";

it("S2: refuses at its bound and keeps order, like a plain list that is cut off", () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(), { freq: 3 })), fc.integer({ min: 0, max: 8 }), (operations, capacity) => {
      const queue = new BoundedQueue<number>(capacity);
      const model: number[] = [];
      for (const item of operations) {
        if (item === null) expect(queue.shift()).toBe(model.shift());
        else {
          const fits = model.length < capacity;
          expect(queue.push(item)).toBe(fits);
          if (fits) model.push(item);
        }
        expect(queue.size).toBe(model.length);
      }
      expect(queue.drain()).toEqual(model);
      expect(queue.size).toBe(0);
    }),
  );
});

it("keeps its order through many more items than it ever holds at once", () => {
  const queue = new BoundedQueue<number>(10);
  for (let item = 0; item < 10_000; item += 1) {
    expect(queue.push(item)).toBe(true);
    expect(queue.shift()).toBe(item);
  }
});
