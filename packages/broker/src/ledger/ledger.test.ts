import { NO_DIGEST } from "@muster/protocol";
import { compactVerify } from "jose";
import { describe, expect, it } from "vitest";
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
import { type LedgerEffect, ODD_RECEIPTS_PER_HOUR_MAX, RECEIPTS_PER_STEP_MAX } from "./ledger-contract.ts";
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
