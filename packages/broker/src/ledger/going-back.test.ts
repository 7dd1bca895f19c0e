import { describe, expect, it } from "vitest";
import { generateSiteKey } from "../peering/keys.ts";
import { ALPHA, BETA, Books, borrowedAs, type Lease, lentAs, newLease } from "./ledger.fixture.ts";
import type { LedgerRecord } from "./ledger-record.ts";

describe("what is open while keys change, or a store goes back", () => {
  /** Beta's final receipt, as often as it is sent, taken by alpha. */
  function settled(beta: Books, alpha: Books): void {
    for (let rounds = 0; rounds < 10; rounds += 1) {
      beta.nowMs = Math.max(beta.nowMs, beta.machine.nextDueMs() ?? beta.nowMs);
      const send = beta.step({ kind: "tick" }).find(({ kind }) => kind === "send");
      if (send?.kind !== "send") continue;
      const said = alpha.take(send.request.body.receipts);
      if (said?.kind !== "answer") throw new Error(`not taken: ${JSON.stringify(said)}`);
      beta.step({ kind: "answer", peer: ALPHA, call: send.call, outcome: { kind: "answered", answer: said.answer } });
    }
  }

  function used(lease: Lease): { readonly alpha: Books; readonly beta: Books } {
    const [alpha, beta] = [new Books(ALPHA), new Books(BETA)];
    alpha.step({ kind: "borrowed", record: borrowedAs(lease, {}) });
    beta.step({ kind: "lent", record: lentAs(lease, {}) });
    alpha.nowMs += 10_000;
    beta.nowMs += 10_000;
    beta.step({ kind: "lent", record: lentAs(lease, { stage: "released" }) });
    beta.step({ kind: "tick" });
    return { alpha, beta };
  }

  const lines = (records: readonly LedgerRecord[]) =>
    records.map(({ digest, state, verdict, lenderProof, borrowerProof }) => {
      return { digest, state, verdict, lenderProof, borrowerProof };
    });

  it("is signed anew by both, and settled, when both changed their keys and forgot the old ones", () => {
    const { alpha, beta } = used(newLease());
    // Booked at alpha under the old keys; the answer is lost.
    const [open] = beta.book("lent");
    if (open === undefined) throw new Error("no receipt");
    expect(alpha.take([{ receipt: open.receipt, proof: open.lenderProof.proof }])?.kind).toBe("answer");
    const fresh = { alpha: generateSiteKey(), beta: generateSiteKey() };
    Object.assign(alpha, { keys: [fresh.alpha] });
    Object.assign(beta, { keys: [fresh.beta] });
    if (alpha.peering !== undefined) alpha.peering = { ...alpha.peering, publicKey: fresh.beta.publicKey };
    if (beta.peering !== undefined) beta.peering = { ...beta.peering, publicKey: fresh.alpha.publicKey };
    beta.restart();
    settled(beta, alpha);
    const lent = lines(beta.book("lent"));
    expect(lent).toMatchObject([{ state: "agreed", borrowerProof: { key: fresh.alpha.publicKey } }]);
    expect(lines(alpha.book("borrowed"))).toEqual(lent);
  });

  it("comes back to a borrower whose store went back: both say the same again", () => {
    const lease = newLease();
    const { alpha, beta } = used(lease);
    const before = new Map(alpha.store);
    settled(beta, alpha);
    expect(beta.book("lent")).toMatchObject([{ state: "agreed" }]);
    alpha.restore(before);
    const next = newLease();
    beta.step({ kind: "lent", record: lentAs(next, {}) });
    beta.step({ kind: "lent", record: lentAs(next, { stage: "released" }) });
    settled(beta, alpha);
    const lent = lines(beta.book("lent"));
    expect(lent.map(({ state }) => state)).not.toContain("open");
    expect(lent).toHaveLength(2);
    expect(lines(alpha.book("borrowed"))).toEqual(lent);
  });

  /** Beta lent twice, its store goes back to before that, and it lends a third time. */
  function wentBack(): { readonly alpha: Books; readonly beta: Books; readonly leases: readonly Lease[] } {
    const leases = [newLease(), newLease(), newLease()];
    const [alpha, beta] = [new Books(ALPHA), new Books(BETA)];
    const use = (lease: Lease) => {
      alpha.step({ kind: "borrowed", record: borrowedAs(lease, {}) });
      beta.step({ kind: "lent", record: lentAs(lease, {}) });
      for (const books of [alpha, beta]) books.nowMs += 10_000;
      beta.step({ kind: "lent", record: lentAs(lease, { stage: "released" }) });
      alpha.step({ kind: "borrowed", record: borrowedAs(lease, { stage: "closed" }) });
    };
    const [first, second, third] = leases as [Lease, Lease, Lease];
    alpha.step({ kind: "borrowed", record: borrowedAs(first, {}) });
    beta.step({ kind: "lent", record: lentAs(first, {}) });
    const backup = new Map(beta.store);
    for (const books of [alpha, beta]) books.nowMs += 60_000;
    beta.step({ kind: "tick" });
    use(second);
    talk(beta, alpha, 15);
    expect(alpha.book("borrowed")).toHaveLength(2);
    beta.restore(backup);
    use(third);
    beta.step({ kind: "lent", record: lentAs(first, { stage: "released" }) });
    return { alpha, beta, leases };
  }

  /** Whatever beta asks is answered, until it asks nothing more for a while. */
  function talk(beta: Books, alpha: Books, roundsMax = 40): void {
    for (let rounds = 0; rounds < roundsMax; rounds += 1) {
      const send = beta.step({ kind: "tick" }).find(({ kind }) => kind === "send");
      if (send?.kind !== "send") {
        for (const books of [alpha, beta]) books.nowMs += 2_000;
        continue;
      }
      const { body } = send.request;
      const said = alpha.step({ kind: "receipts", peer: BETA, ticket: 1, body });
      const [answer] = said.filter(({ kind }) => kind === "answer" || kind === "refuse");
      const outcome =
        answer?.kind === "answer"
          ? ({ kind: "answered", answer: answer.answer } as const)
          : ({ kind: "refused", refusal: answer?.kind === "refuse" ? answer.refusal : never() } as const);
      beta.step({ kind: "answer", peer: ALPHA, call: send.call, outcome });
    }
  }

  function never(): never {
    throw new Error("a question had no answer");
  }

  it("B6: a lender whose store went back takes its own receipts back, and numbers anew what it wrote since", () => {
    const { alpha, beta, leases } = wentBack();
    talk(beta, alpha);
    const lent = lines(beta.book("lent"));
    expect(lines(alpha.book("borrowed"))).toEqual(lent);
    expect(lent.map(({ state }) => state)).toEqual(["agreed", "agreed", "agreed", "agreed"]);
    const counted = leases.map(({ id }) =>
      beta
        .book("lent")
        .filter(({ receipt }) => receipt.lease === id)
        .map(({ receipt }) => [receipt.fromMs, receipt.untilMs, receipt.final]),
    );
    // No stretch twice: of the first lease the rest alone, of the second nothing more.
    expect(counted).toEqual([
      [
        [0, 60_000, false],
        [60_000, expect.any(Number), true],
      ],
      [[0, 10_000, true]],
      [[0, 10_000, true]],
    ]);
    expect(beta.machine.favourOf(ALPHA).vcpuMs).toBe(-alpha.machine.favourOf(BETA).vcpuMs);
  });

  it("B5: takes back nothing that it did not sign itself, or that is out of place", () => {
    for (const change of [{ proof: "e30..e30" }, { countersign: "e30..e30" }, "altered", "later"] as const) {
      const { alpha, beta } = wentBack();
      const before = beta.book("lent").length;
      for (let rounds = 0; rounds < 6; rounds += 1) {
        beta.nowMs = Math.max(beta.nowMs, beta.machine.nextDueMs() ?? beta.nowMs);
        const send = beta.step({ kind: "tick" }).find(({ kind }) => kind === "send");
        if (send?.kind !== "send") continue;
        const said = alpha.step({ kind: "receipts", peer: BETA, ticket: 1, body: send.request.body });
        const answer = said.find(({ kind }) => kind === "answer" || kind === "refuse");
        if (answer?.kind === "refuse") {
          beta.step({
            kind: "answer",
            peer: ALPHA,
            call: send.call,
            outcome: { kind: "refused", refusal: answer.refusal },
          });
          continue;
        }
        if (answer?.kind !== "answer" || answer.answer.kind !== "verdicts") throw new Error("no answer");
        const { recalled = [], ...rest } = answer.answer.body;
        const [one, ...others] = recalled;
        if (one === undefined) throw new Error("nothing was recalled");
        const altered = { ...one, receipt: { ...one.receipt, untilMs: 1 } };
        const forged = change === "altered" ? altered : change === "later" ? (others[0] ?? one) : { ...one, ...change };
        const body = { ...rest, recalled: [forged] };
        const outcome = { kind: "answered", answer: { kind: "verdicts", body } } as const;
        beta.step({ kind: "answer", peer: ALPHA, call: send.call, outcome });
      }
      expect(beta.book("lent").filter(({ state }) => state !== "open")).toEqual([]);
      expect(beta.book("lent")).toHaveLength(before);
      expect(beta.machine.balances()[0]).toMatchObject({ lent: { open: before } });
    }
  });
});
