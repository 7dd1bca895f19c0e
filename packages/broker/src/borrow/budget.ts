/**
 * What a project may spend at peers in a period, as a hard stop: by the prices that were accepted, with what is promised
 * already. What is over is summed up in a record of the project; what runs is counted from its own.
 */
import { amountOf, type Refusal, refusal, resourcesOf, type UnitPrices, type VmSpec } from "@muster/protocol";
import type { BorrowBook } from "./borrow-book.ts";
import type { BorrowTurn } from "./borrow-turn.ts";
import type { BorrowRecord, Budget } from "./borrower-contract.ts";

/** Spent and promised in the period, `besides` left out. */
export function spentBy(book: BorrowBook, project: string, budget: Budget, nowMs: number, besides?: string): number {
  const known = book.spent.get(project);
  let spent = known?.sinceMs === budget.sinceMs ? known.amount : 0;
  for (const { record } of book.open.values()) {
    if (record.project !== project || record.id === besides) continue;
    const endMs = Math.max(nowMs, Math.min(record.expiresAtMs, record.endsAtMs ?? Number.POSITIVE_INFINITY));
    spent += costOf(record, budget.sinceMs, record.stage === "leased" ? endMs : nowMs);
    if (record.stage === "holding" || record.stage === "leasing")
      spent += amount(record.spec, record.prices, record.leaseMs);
  }
  return spent;
}

/** Why a lease at these prices goes beyond the budget; `undefined` where it does not, or there is none. */
export function overBudget(
  book: BorrowBook,
  budget: Budget | undefined,
  wish: {
    readonly project: string;
    readonly spec: VmSpec;
    readonly prices: UnitPrices | undefined;
    readonly leaseMs: number;
  },
  nowMs: number,
  besides?: string,
): Refusal | undefined {
  const { project, spec, prices, leaseMs } = wish;
  const cost = amount(spec, prices, leaseMs);
  if (budget === undefined || cost === 0) return undefined;
  const spent = spentBy(book, project, budget, nowMs, besides);
  if (spent + cost <= budget.limit) return undefined;
  const message =
    `project ${project} may spend ${text(budget.limit)} at peers until ${new Date(budget.endsMs).toISOString()}; ` +
    `${text(spent)} is spent or promised, and this lease costs ${text(cost)}`;
  return refusal("policy-violation", "over-budget", message);
}

/** The exchange is over: what it cost goes into the sum of its project, which is stored. */
export function sumUpSpending(turn: BorrowTurn, record: BorrowRecord): void {
  const budget = turn.env.budget?.(record.project);
  if (budget === undefined || record.leasedAtMs === undefined) return;
  const cost = costOf(record, budget.sinceMs, turn.env.nowMs);
  if (cost === 0) return;
  const { project } = record;
  const before = turn.book.spent.get(project);
  const sum = (before?.sinceMs === budget.sinceMs ? before.amount : 0) + cost;
  const spent = { project, sinceMs: budget.sinceMs, amount: sum };
  turn.book.spent.set(project, spent);
  turn.changes.push({ kind: "spent", record: spent });
}

/** A whole figure of thousandths as people read it: `1.500`. */
export function text(thousandths: number): string {
  return (thousandths / 1_000).toFixed(3);
}

function costOf({ leasedAtMs, spec, prices }: BorrowRecord, sinceMs: number, untilMs: number): number {
  return leasedAtMs === undefined ? 0 : amount(spec, prices, untilMs - Math.max(leasedAtMs, sinceMs));
}

function amount(spec: VmSpec, prices: UnitPrices | undefined, durationMs: number): number {
  return prices === undefined ? 0 : amountOf(resourcesOf(spec), prices, Math.max(0, Math.ceil(durationMs)));
}
