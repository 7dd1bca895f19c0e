/** Any history of two books over a channel that loses, repeats and reorders, with crashes of either side, ends in agreement. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { BurstOutcome, LedgerRequest } from "../burst-message.ts";
import { ALPHA, BETA, Books, borrowedAs, KEYS, type Lease, lentAs, newLease, type Stored } from "./ledger.fixture.ts";
import type { LedgerEffect } from "./ledger-contract.ts";
import { createLedgerCheck } from "./verify.ts";

type Deed =
  | { readonly kind: "start"; readonly lease: number; readonly lateMs: number }
  | { readonly kind: "end"; readonly lease: number; readonly lateMs: number }
  | { readonly kind: "wait"; readonly durationMs: number }
  | { readonly kind: "deliver" | "repeat"; readonly message: number }
  | { readonly kind: "answer" | "lose"; readonly message: number }
  | { readonly kind: "backup" | "restore" }
  | { readonly kind: "crash"; readonly side: "lender" | "borrower" };

const LEASES = 4;
const index = fc.nat(20);
const deed: fc.Arbitrary<Deed> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("start" as const, "end" as const),
    lease: fc.nat(LEASES - 1),
    // Beyond the tolerance, so that some end in a dispute.
    lateMs: fc.nat(9_000),
  }),
  fc.record({ kind: fc.constant("wait" as const), durationMs: fc.integer({ min: 1, max: 150_000 }) }),
  fc.record({ kind: fc.constantFrom("deliver" as const, "repeat" as const), message: index }),
  fc.record({ kind: fc.constantFrom("answer" as const, "lose" as const), message: index }),
  fc.record({ kind: fc.constantFrom("backup" as const, "restore" as const) }),
  fc.record({ kind: fc.constant("crash" as const), side: fc.constantFrom("lender" as const, "borrower" as const) }),
);

type Sent = { readonly call: string; readonly request: LedgerRequest };

class World {
  readonly beta = new Books(BETA);
  readonly alpha = new Books(ALPHA);
  /** One more than are drawn: the last receipt of all shows a lender whose store went back what it has lost. */
  readonly leases: Lease[] = Array.from({ length: LEASES + 1 }, newLease);
  readonly stages = this.leases.map((): "new" | "runs" | "over" => "new");
  /** The lender's store at some time, and whether it went back to it. */
  #backup: ReadonlyMap<string, Stored> = new Map();
  wentBack = false;
  /** Told to the borrower later than it happened. */
  #news: { readonly atMs: number; readonly tell: () => void }[] = [];
  readonly #questions: Sent[] = [];
  readonly #answers: { readonly call: string; readonly outcome: BurstOutcome }[] = [];

  lend(lease: number, stage: "runs" | "over", lateMs: number): void {
    const of = this.leases[lease];
    const before = this.stages[lease];
    if (of === undefined || before !== (stage === "runs" ? "new" : "runs")) return;
    this.stages[lease] = stage;
    const over = stage === "over";
    this.#keep(this.beta.step({ kind: "lent", record: lentAs(of, over ? { stage: "released" } : {}) }));
    const record = borrowedAs(of, over ? { stage: "closed" } : {});
    this.#news.push({ atMs: this.alpha.nowMs + lateMs, tell: () => this.alpha.step({ kind: "borrowed", record }) });
  }

  wait(durationMs: number): void {
    const endMs = this.alpha.nowMs + durationMs;
    const due = this.#news.filter(({ atMs }) => atMs <= endMs).sort((left, right) => left.atMs - right.atMs);
    this.#news = this.#news.filter(({ atMs }) => atMs > endMs);
    for (const { atMs, tell } of due) {
      this.alpha.nowMs = Math.max(this.alpha.nowMs, atMs);
      tell();
    }
    this.alpha.nowMs = endMs;
    this.beta.nowMs = endMs;
    this.#keep(this.beta.step({ kind: "tick" }));
    this.alpha.step({ kind: "tick" });
  }

  /** The question arrives; `keep`: and will once more. */
  deliver(message: number, keep = false): void {
    const at = this.#questions.length === 0 ? 0 : message % this.#questions.length;
    const [sent] = keep ? this.#questions.slice(at, at + 1) : this.#questions.splice(at, 1);
    if (sent === undefined) return;
    const { body } = sent.request;
    const effects = this.alpha.step({ kind: "receipts", peer: BETA, ticket: 1, body });
    const said = effects.find(({ kind }) => kind === "answer" || kind === "refuse");
    if (said?.kind === "answer")
      this.#answers.push({ call: sent.call, outcome: { kind: "answered", answer: said.answer } });
    else if (said?.kind === "refuse")
      this.#answers.push({ call: sent.call, outcome: { kind: "refused", refusal: said.refusal } });
  }

  answer(message: number, lost = false): void {
    if (this.#answers.length === 0) return;
    const [answer] = this.#answers.splice(message % this.#answers.length, 1);
    if (answer === undefined) return;
    const outcome: BurstOutcome = lost ? { kind: "unknown" } : answer.outcome;
    this.#keep(this.beta.step({ kind: "answer", peer: ALPHA, call: answer.call, outcome }));
  }

  do(what: Deed): void {
    switch (what.kind) {
      case "start":
      case "end":
        this.lend(what.lease, what.kind === "start" ? "runs" : "over", what.lateMs);
        return;
      case "wait":
        this.wait(what.durationMs);
        return;
      case "backup":
        this.#backup = new Map(this.beta.store);
        return;
      case "restore":
        this.wentBack = true;
        this.beta.restore(this.#backup);
        return;
      case "crash":
        (what.side === "lender" ? this.beta : this.alpha).restart();
        return;
      case "deliver":
      case "repeat":
        this.deliver(what.message, what.kind === "repeat");
        return;
      default:
        this.answer(what.message, what.kind === "lose");
    }
  }

  /** All leases end, and everything that is said arrives. */
  settle(): void {
    this.lend(LEASES, "runs", 0);
    for (const lease of this.leases.keys()) this.lend(lease, "over", 0);
    for (let rounds = 0; rounds < 200; rounds += 1) {
      this.wait(10_000);
      for (let message = 0; message < 50; message += 1) {
        this.deliver(0);
        this.answer(0);
      }
      if (this.beta.book("lent").every(({ state }) => state !== "open")) return;
    }
    throw new Error("receipts stay open");
  }

  #keep(effects: readonly LedgerEffect[]): void {
    for (const effect of effects)
      if (effect.kind === "send") this.#questions.push({ call: effect.call, request: effect.request });
  }
}

const lines = (books: Books, side: "lent" | "borrowed") =>
  books.book(side).map(({ receipt, digest, state, verdict, lenderProof, borrowerProof }) => {
    return { receipt, digest, state, verdict, lenderProof, borrowerProof };
  });

it("B6: both books hold the same receipts, each agreed or disputed with the same figures", () => {
  const seen = { agreed: 0, disputed: 0 };
  fc.assert(
    fc.property(fc.array(deed, { minLength: 5, maxLength: 60 }), (deeds) => {
      const world = new World();
      for (const what of deeds) world.do(what);
      world.settle();
      const lent = lines(world.beta, "lent");
      expect(lines(world.alpha, "borrowed")).toEqual(lent);
      for (const { state } of lent) if (state !== "open") seen[state] += 1;
      for (const [books, peer] of [
        [world.beta, ALPHA],
        [world.alpha, BETA],
      ] as const) {
        const ownKeys = [KEYS[books.domain].publicKey];
        const check = createLedgerCheck({ domain: books.domain, ownKeys, keysOf: () => [KEYS[peer].publicKey] });
        for (const record of books.book(books === world.beta ? "lent" : "borrowed")) check.take(record);
        expect(check.end().findings).toEqual([]);
      }
      const lentHere = world.beta.machine.favourOf(ALPHA);
      const borrowedThere = world.alpha.machine.favourOf(BETA);
      expect([lentHere.amount + borrowedThere.amount, lentHere.vcpuMs + borrowedThere.vcpuMs]).toEqual([0, 0]);
      // Every lease that ran has exactly one final receipt, and its stretches follow each other.
      for (const lease of world.leases) {
        const own = lent.filter(({ receipt }) => receipt.lease === lease.id).map(({ receipt }) => receipt);
        const finals = own.filter(({ final }) => final).length;
        // What a lender whose store went back has forgotten to lend, it does not end either.
        if (world.wentBack) expect(finals).toBeLessThanOrEqual(1);
        else expect(finals).toBe(own.length === 0 ? 0 : 1);
        own.reduce((from, { fromMs, untilMs }) => {
          expect(fromMs).toBe(from);
          return untilMs;
        }, 0);
      }
    }),
    { numRuns: 150 },
  );
  expect(seen.agreed).toBeGreaterThan(0);
  expect(seen.disputed).toBeGreaterThan(0);
}, 60_000);
