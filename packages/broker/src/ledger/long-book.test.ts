import { NO_DIGEST } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { ALPHA, BETA, Books, borrowedAs, digestIn, newLease, receiptFor } from "./ledger.fixture.ts";
import { BOOK_EVERY, type LedgerEffect, RECENT_MAX } from "./ledger-contract.ts";
import { type BookRecord, bookKey, receiptKey } from "./ledger-record.ts";

function verdictOf(effect: LedgerEffect | undefined) {
  if (effect?.kind !== "answer" || effect.answer.kind !== "verdicts") throw new Error(`no verdict: ${effect?.kind}`);
  return effect.answer.body.verdicts[0]?.verdict;
}

describe("a long book", () => {
  const LENT = RECENT_MAX + 2 * BOOK_EVERY;
  /** Alpha's book of so many receipts of leases that ended at once, all agreed. */
  function longBook(): Books {
    const alpha = new Books(ALPHA);
    let previous = NO_DIGEST;
    for (let sequence = 1; sequence <= LENT; sequence += 1) {
      const lease = newLease();
      alpha.step({ kind: "borrowed", record: borrowedAs(lease, {}) });
      alpha.nowMs += 60_000;
      const receipt = receiptFor(lease, { sequence, previous, final: true });
      expect(verdictOf(alpha.take([receipt]))?.verdict).toBe("agreed");
      previous = digestIn(receipt);
    }
    return alpha;
  }

  it("S2: is begun from its sums, with the same balance and the same answers, however long it is", () => {
    const alpha = longBook();
    const before = alpha.machine.balances();
    const last = alpha.book("borrowed").at(-1);
    // What the sums speak for need not even be there.
    const { upTo } = alpha.store.get(bookKey({ side: "borrowed", peer: BETA })) as BookRecord;
    expect(upTo).toBeGreaterThanOrEqual(BOOK_EVERY);
    for (const record of alpha.book("borrowed"))
      if (record.receipt.sequence <= upTo) alpha.store.delete(receiptKey(record));
    alpha.restart();
    expect(alpha.machine.balances()).toEqual(before);
    const lease = newLease();
    alpha.step({ kind: "borrowed", record: borrowedAs(lease, {}) });
    alpha.nowMs += 60_000;
    const next = receiptFor(lease, { sequence: LENT + 1, previous: last?.digest ?? "", final: true });
    expect(verdictOf(alpha.take([next]))?.verdict).toBe("agreed");
    expect(alpha.machine.balances()[0]?.borrowed.receipts).toBe(LENT + 1);
    expect(alpha.take([receiptFor(newLease(), { sequence: 1 })])).toMatchObject({
      refusal: { reason: "receipt-too-old" },
    });
  });

  it("is counted from its receipts where the sums are missing", () => {
    const alpha = longBook();
    const before = alpha.machine.balances();
    for (const key of [...alpha.store.keys()]) if (key.startsWith("book/")) alpha.store.delete(key);
    alpha.restart();
    expect(alpha.machine.balances()).toEqual(before);
  });
});
