import { expect, it } from "vitest";
import { Lanes } from "./lanes.ts";

it("S2: runs as many as it has lanes for, the others in order, also after one that failed", async () => {
  const lanes = new Lanes(2);
  const ends: PromiseWithResolvers<void>[] = [];
  const begun: number[] = [];
  const works = [0, 1, 2, 3].map((number) => {
    ends.push(Promise.withResolvers());
    return lanes.run(async () => {
      begun.push(number);
      await ends[number]?.promise;
    });
  });
  expect(begun).toEqual([0, 1]);
  ends[1]?.reject(new Error("failed"));
  await expect(works[1]).rejects.toThrow("failed");
  expect(begun).toEqual([0, 1, 2]);
  for (const end of ends) end.resolve();
  await Promise.allSettled(works);
  expect(begun).toEqual([0, 1, 2, 3]);
  const again: number[] = [];
  await Promise.all([5, 6, 7].map((number) => lanes.run(async () => again.push(number))));
  expect(again).toEqual([5, 6, 7]);
});
