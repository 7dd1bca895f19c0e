import { NO_DIGEST } from "@muster/protocol";
import { compactVerify } from "jose";
import { describe, expect, it } from "vitest";
import { generateSiteKey } from "../peering/keys.ts";
import { favourShare } from "./balance.ts";
import {
  ALPHA,
  BETA,
  Books,
  borrowedAs,
  digestIn,
  KEYS,
  type Lease,
  lentAs,
  newLease,
  PRICES,
  receiptFor,
} from "./ledger.fixture.ts";
import {
  BOOK_EVERY,
  type LedgerEffect,
  ODD_RECEIPTS_PER_HOUR_MAX,
  RECEIPTS_PER_STEP_MAX,
  RECENT_MAX,
} from "./ledger-contract.ts";
import { type BookRecord, bookKey, type LedgerRecord, receiptKey } from "./ledger-record.ts";
import { evidenceOf, prove, receiptText } from "./proof.ts";

/** Alpha's books, told `ranMs` ago that the VM of this lease runs at beta. */
function borrower(lease: Lease, ranMs = 60_000): Books {
  const alpha = new Books(ALPHA);
  alpha.step({ kind: "borrowed", record: borrowedAs(lease, {}) });
  alpha.nowMs += ranMs;
  return alpha;
}

function verdictOf(effect: LedgerEffect | undefined) {
  if (effect?.kind !== "answer" || effect.answer.kind !== "verdicts") throw new Error(`no verdict: ${effect?.kind}`);
  return effect.answer.body.verdicts[0]?.verdict;
}

function refusalOf(effect: LedgerEffect | undefined): string | undefined {
  return effect?.kind === "refuse" ? effect.refusal.reason : undefined;
}

describe("what a borrower says to a receipt", () => {
  it("B6: agrees with one of its lease that it measured itself, countersigned", () => {
    const lease = newLease();
    const alpha = borrower(lease);
    const verdict = verdictOf(alpha.take([receiptFor(lease)]));
    expect(verdict).toMatchObject({ verdict: "agreed", ownMs: 60_000, ownAmount: 50 });
    expect(alpha.book("borrowed")).toMatchObject([{ state: "agreed", borrowerProof: { key: KEYS[ALPHA].publicKey } }]);
  });

  it("agrees within the tolerance of a lease as a whole, and with a lender that asks for less", () => {
    const lease = newLease();
    expect(verdictOf(borrower(lease, 55_000).take([receiptFor(lease)]))).toMatchObject({
      verdict: "agreed",
      ownMs: 55_000,
    });
    expect(verdictOf(borrower(lease, 54_999).take([receiptFor(lease)]))?.verdict).toBe("disputed");
    expect(verdictOf(borrower(lease, 500_000).take([receiptFor(lease, { final: true })]))?.verdict).toBe("agreed");
  });

  const wrong: Record<string, readonly [Parameters<typeof receiptFor>[1], RegExp]> = {
    "time that did not pass": [{ untilMs: 3_600_000 }, /we measured 60000 ms of 3600000 ms/],
    "an amount that does not add up": [{ amount: 51 }, /the amount is 50/],
    "resources that were not leased": [
      { resources: { vcpus: 64, memoryMiB: 2_048, diskGiB: 10, gpus: 0 } },
      /resources are not those/,
    ],
    "a stretch that begins later": [{ fromMs: 10_000 }, /goes on from 10000 ms, not 0 ms/],
    "somebody else's project": [{ project: "other" }, /project or owner are not those/],
    "a lease that is not ours": [{ lease: "01900000-0000-7000-8000-00000000ffff" }, /no such lease/],
  };
  for (const [what, [part, reason]] of Object.entries(wrong)) {
    it(`B6: disputes ${what}, with its own figure`, () => {
      const lease = newLease();
      const alpha = borrower(lease);
      const verdict = verdictOf(alpha.take([receiptFor(lease, part)]));
      expect(verdict).toMatchObject({ verdict: "disputed", reason: expect.stringMatching(reason) });
      expect(verdict?.ownAmount).toBeLessThanOrEqual(50);
      expect(alpha.book("borrowed")).toMatchObject([{ state: "disputed" }]);
      expect(alpha.effects.some((effect) => effect.kind === "tell")).toBe(true);
    });
  }

  it("disputes another price than the one that was accepted with the hold", () => {
    const lease = newLease();
    const alpha = borrower(lease);
    const prices = { ...PRICES, vcpuHour: 2_000 };
    expect(verdictOf(alpha.take([receiptFor(lease, { prices })]))).toMatchObject({
      verdict: "disputed",
      ownAmount: 50,
      reason: expect.stringContaining("prices"),
    });
  });

  it("disputes a second final receipt for the same lease", () => {
    const lease = newLease();
    const alpha = borrower(lease);
    const first = receiptFor(lease, { final: true });
    expect(verdictOf(alpha.take([first]))?.verdict).toBe("agreed");
    const again = receiptFor(lease, { sequence: 2, previous: digestIn(first), final: true });
    expect(verdictOf(alpha.take([again]))).toMatchObject({ verdict: "disputed", ownAmount: 0 });
  });

  it("B1: answers the same receipt in the same words, also after a restart, and books it once", () => {
    const lease = newLease();
    const alpha = borrower(lease);
    const receipt = receiptFor(lease);
    const said = alpha.take([receipt]);
    alpha.restart();
    alpha.nowMs += 1_000_000;
    expect(alpha.take([receipt])).toEqual(said);
    expect(alpha.machine.balances()[0]?.borrowed.receipts).toBe(1);
  });

  it("a gap is no fault: it says which receipt it waits for, and takes nothing beyond", () => {
    const lease = newLease();
    const alpha = borrower(lease);
    const answer = alpha.take([receiptFor(lease, { sequence: 3 })]);
    expect(answer).toMatchObject({ kind: "answer", answer: { body: { next: 1, verdicts: [] } } });
    expect(alpha.book("borrowed")).toEqual([]);
  });
});

describe("forged, replayed and altered receipts", () => {
  it("B5: is refused when another key signed it, counted, and said", () => {
    const lease = newLease();
    const alpha = borrower(lease);
    expect(refusalOf(alpha.take([receiptFor(lease, {}, KEYS[ALPHA])]))).toBe("bad-receipt-proof");
    const { receipt, proof } = receiptFor(lease);
    expect(refusalOf(alpha.take([{ receipt: { ...receipt, amount: 1 }, proof }]))).toBe("bad-receipt-proof");
    expect(alpha.machine.balances()[0]).toMatchObject({
      refused: 2,
      lastRefusal: "receipt 1 was refused: it is not signed by the key of beta.test",
    });
    expect(alpha.book("borrowed")).toEqual([]);
  });

  it("is refused under a number that is taken, out of the chain, or between other sites", () => {
    const lease = newLease();
    const alpha = borrower(lease);
    alpha.take([receiptFor(lease)]);
    expect(refusalOf(alpha.take([receiptFor(lease, { untilMs: 50_000 })]))).toBe("receipt-altered");
    expect(refusalOf(alpha.take([receiptFor(lease, { sequence: 2 })]))).toBe("chain-broken");
    expect(refusalOf(alpha.take([receiptFor(lease, { borrower: "gamma.test" })]))).toBe("wrong-sites");
    expect(refusalOf(alpha.take([receiptFor(lease, { fromMs: 2, untilMs: 1 })]))).toBe("backwards");
    alpha.peering = undefined;
    expect(refusalOf(alpha.take([receiptFor(lease)]))).toBe("not-peered");
    expect(alpha.machine.balances()[0]?.borrowed.receipts).toBe(1);
  });

  it("a lender takes no verdict that its borrower did not sign, or on another receipt", () => {
    const lease = newLease();
    const beta = new Books(BETA);
    beta.step({ kind: "lent", record: lentAs(lease, {}) });
    beta.nowMs += 60_000;
    const [send] = beta.step({ kind: "tick" });
    if (send?.kind !== "send") throw new Error("nothing was sent");
    const verdict = { sequence: 1, receipt: beta.book("lent")[0]?.digest ?? "", verdict: "agreed" as const };
    const said = { ...verdict, ownMs: 0, ownAmount: 0 };
    const { proof } = prove("something else", KEYS[ALPHA]);
    const body = { next: 2, verdicts: [{ verdict: said, proof }] };
    const outcome = { kind: "answered", answer: { kind: "verdicts", body } } as const;
    beta.step({ kind: "answer", peer: ALPHA, call: send.call, outcome });
    expect(beta.book("lent")).toMatchObject([{ state: "open" }]);
    expect(beta.machine.balances()[0]?.refused).toBe(1);
  });
});

describe("a lender's receipts", () => {
  it("B6: measures from the first running until the VM is gone, paused and stopped time included", () => {
    const lease = newLease();
    const beta = new Books(BETA);
    beta.step({ kind: "lent", record: lentAs(lease, { vmPhase: "placing" }) });
    beta.nowMs += 30_000;
    beta.step({ kind: "lent", record: lentAs(lease, {}) });
    beta.nowMs += 10_000;
    beta.step({ kind: "lent", record: lentAs(lease, { vmPhase: "stopped" }) });
    beta.nowMs += 20_000;
    beta.step({ kind: "lent", record: lentAs(lease, { stage: "released", vmPhase: "deleted" }) });
    expect(beta.book("lent")).toMatchObject([{ receipt: { fromMs: 0, untilMs: 30_000, final: true, amount: 25 } }]);
    expect([...beta.store.keys()].filter((key) => key.startsWith("meter/"))).toEqual([]);
  });

  it("S2: writes a bounded number in a step when many are due at once, and the rest with the next", () => {
    const beta = new Books(BETA);
    for (let lease = 0; lease < RECEIPTS_PER_STEP_MAX + 10; lease += 1)
      beta.step({ kind: "lent", record: lentAs(newLease(), {}) });
    expect(beta.machine.nextDueMs()).toBe(beta.nowMs + 60_000);
    beta.nowMs += 60_000;
    beta.step({ kind: "tick" });
    expect(beta.book("lent")).toHaveLength(RECEIPTS_PER_STEP_MAX);
    expect(beta.machine.nextDueMs()).toBe(beta.nowMs);
    beta.step({ kind: "tick" });
    expect(beta.book("lent")).toHaveLength(RECEIPTS_PER_STEP_MAX + 10);
  });

  it("writes none for a lease whose VM never ran", () => {
    const lease = newLease();
    const beta = new Books(BETA);
    beta.step({ kind: "lent", record: lentAs(lease, { vmPhase: "placing" }) });
    beta.step({ kind: "lent", record: lentAs(lease, { stage: "released", vmPhase: "refused" }) });
    expect([...beta.store.keys()]).toEqual([]);
  });

  it("goes over a standstill with one receipt, and sends again with longer pauses while nobody answers", () => {
    const lease = newLease();
    const beta = new Books(BETA);
    beta.step({ kind: "lent", record: lentAs(lease, {}) });
    beta.nowMs += 190_000;
    beta.restart();
    const sentAtMs: number[] = [];
    for (let rounds = 0; rounds < 12; rounds += 1) {
      for (const effect of beta.step({ kind: "tick" })) {
        if (effect.kind !== "send") continue;
        sentAtMs.push(beta.nowMs);
        beta.step({ kind: "answer", peer: ALPHA, call: effect.call, outcome: { kind: "unknown" } });
      }
      beta.nowMs = Math.max(beta.nowMs, beta.machine.nextDueMs() ?? beta.nowMs);
    }
    expect(beta.book("lent")[0]?.receipt).toMatchObject({ fromMs: 0, untilMs: 180_000 });
    const pauses = sentAtMs.slice(1, 5).map((at, index) => at - (sentAtMs[index] ?? 0));
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000].slice(0, pauses.length));
    expect(beta.machine.balances()[0]?.lent).toMatchObject({ open: expect.any(Number) });
  });

  it("asks nothing of a peer that is gone, keeps its receipts open, and does not spin", () => {
    const lease = newLease();
    const beta = new Books(BETA);
    beta.step({ kind: "lent", record: lentAs(lease, {}) });
    beta.peering = undefined;
    beta.nowMs += 5_000;
    beta.step({ kind: "lent", record: lentAs(lease, { stage: "released", vmPhase: "deleted" }) });
    expect(beta.effects.filter(({ kind }) => kind === "send")).toEqual([]);
    expect(beta.book("lent")).toMatchObject([{ state: "open" }]);
    expect(beta.machine.nextDueMs()).toBeGreaterThan(beta.nowMs);
  });

  it("keeps why the borrower refuses one, and says it once", () => {
    const lease = newLease();
    const beta = new Books(BETA);
    beta.step({ kind: "lent", record: lentAs(lease, {}) });
    beta.step({ kind: "lent", record: lentAs(lease, { stage: "released", vmPhase: "deleted" }) });
    for (let rounds = 0; rounds < 3; rounds += 1) {
      beta.nowMs = Math.max(beta.nowMs, beta.machine.nextDueMs() ?? 0);
      const sent = [...beta.effects, ...beta.step({ kind: "tick" })].filter((effect) => effect.kind === "send").at(-1);
      const refusal = { kind: "conflict", reason: "receipt-altered", message: "another receipt was taken" } as const;
      beta.step({ kind: "answer", peer: ALPHA, call: sent?.call ?? "", outcome: { kind: "refused", refusal } });
    }
    expect(beta.book("lent")).toMatchObject([{ state: "open", refused: "another receipt was taken" }]);
    expect(beta.effects.filter(({ kind }) => kind === "tell")).toHaveLength(1);
  });
});

describe("a lender that floods", () => {
  it("S2: is let write a bounded number of receipts an hour that our leases do not bound, then waits", () => {
    const alpha = new Books(ALPHA);
    let previous = NO_DIGEST;
    let sequence = 1;
    const flood = (): string | undefined => {
      const receipt = receiptFor(newLease(), { sequence, previous });
      const refused = refusalOf(alpha.take([receipt]));
      if (refused === undefined) {
        previous = digestIn(receipt);
        sequence += 1;
      }
      return refused;
    };
    for (let times = 0; times < ODD_RECEIPTS_PER_HOUR_MAX; times += 1) expect(flood()).toBeUndefined();
    expect([flood(), flood()]).toEqual(["too-many-disputes", "too-many-disputes"]);
    // What our own lease bounds goes on.
    const lease = newLease();
    alpha.step({ kind: "borrowed", record: borrowedAs(lease, {}) });
    alpha.nowMs += 60_000;
    const honest = receiptFor(lease, { sequence, previous, final: true });
    expect(verdictOf(alpha.take([honest]))?.verdict).toBe("agreed");
    previous = digestIn(honest);
    sequence += 1;
    expect(flood()).toBe("too-many-disputes");
    alpha.nowMs += 3_600_000;
    expect(flood()).toBeUndefined();
  });
});

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
    expect(refusalOf(alpha.take([receiptFor(newLease(), { sequence: 1 })]))).toBe("receipt-too-old");
  });

  it("is counted from its receipts where the sums are missing", () => {
    const alpha = longBook();
    const before = alpha.machine.balances();
    for (const key of [...alpha.store.keys()]) if (key.startsWith("book/")) alpha.store.delete(key);
    alpha.restart();
    expect(alpha.machine.balances()).toEqual(before);
  });
});

describe("proofs", () => {
  it("are JWS that any library checks against the pinned key", async () => {
    const { receipt, proof } = receiptFor(newLease());
    const [header, , signature] = proof.split(".");
    const jws = `${header}.${Buffer.from(receiptText(receipt)).toString("base64url")}.${signature}`;
    const { protectedHeader } = await compactVerify(jws, { kty: "OKP", crv: "Ed25519", x: KEYS[BETA].publicKey });
    expect(protectedHeader).toEqual({ alg: "EdDSA", kid: KEYS[BETA].fingerprint });
  });

  it("stand for the key that made them and no other, whatever else is in the header", () => {
    const { proof, key } = prove("text", KEYS[BETA]);
    expect(evidenceOf("text", proof, [KEYS[ALPHA].publicKey, key])).toEqual({ proof, key });
    expect(evidenceOf("text", proof, [KEYS[ALPHA].publicKey, "no key"])).toBeUndefined();
    const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    expect(evidenceOf("text", `${none}..`, [key])).toBeUndefined();
    expect(evidenceOf("text", "garbage", [key])).toBeUndefined();
  });
});

describe("favours", () => {
  it("rank a peer that helped us above one that is even, and that above one that owes us", () => {
    const share = (vcpuHours: number) => favourShare({ amount: 0, vcpuMs: vcpuHours * 3_600_000 });
    expect(share(0)).toBe(0.5);
    expect(share(-100)).toBeCloseTo(0.75);
    expect(share(100)).toBeCloseTo(0.25);
    expect(share(-1e9)).toBeLessThanOrEqual(1);
    expect(share(1e9)).toBeGreaterThanOrEqual(0);
  });
});
