import { expect, it } from "vitest";
import { SettledReceipts } from "./settled-receipts.ts";

const totals = { receipts: 5, open: 0, disputed: 0, amount: 0, vcpuMs: 0 };
const key = (sequence: number, side = "lent") => `receipt/${side}/beta.test/${String(sequence).padStart(16, "0")}`;

it("S2: lets go of receipts that a stored book speaks for, and of no others", () => {
  const settled = new SettledReceipts();
  expect(settled.keeps("book/lent/beta.test", { side: "lent", peer: "beta.test", upTo: 5, totals })).toBe(true);
  expect([4, 5, 6].map((sequence) => settled.keeps(key(sequence), {}))).toEqual([false, false, true]);
  expect(settled.keeps(key(1, "borrowed"), {})).toBe(true);
  expect(settled.keeps("vm/01900000-0000-7000-8000-000000000001", {})).toBe(true);
});

it("takes nothing on the word of a book that is damaged, or stands under another name", () => {
  for (const book of [
    { side: "lent", peer: "beta.test", upTo: "5", totals },
    { side: "lent", peer: "gamma.test", upTo: 5, totals },
  ]) {
    const settled = new SettledReceipts();
    settled.keeps("book/lent/beta.test", book);
    expect(settled.keeps(key(1), {})).toBe(true);
  }
});
