/** What a borrower says to one receipt, from its own meter of the lease. */
import { amountOf, canonicalText, type Receipt, type Verdict } from "@muster/protocol";
import type { MeterRecord } from "./ledger-record.ts";
import { usedMs } from "./meters.ts";

type Own = {
  /** Absent: no such lease of ours, or its final receipt was given already. */
  readonly meter: MeterRecord | undefined;
  readonly nowMs: number;
  readonly toleranceMs: number;
};

/**
 * Agreed where the receipt is of our lease, goes on where the last one ended, is priced as was accepted, adds up, and reaches at most
 * the tolerance beyond what we measured ourselves. A lender that asks for less than that is agreed with. A dispute carries what
 * we make of the same stretch.
 */
export function judge(receipt: Receipt, own: Own): Pick<Verdict, "verdict" | "ownMs" | "ownAmount" | "reason"> {
  const { meter } = own;
  if (meter === undefined) {
    const reason = "we know no such lease of ours that runs, or its final receipt was given";
    return { verdict: "disputed", ownMs: 0, ownAmount: 0, reason };
  }
  const measuredMs = usedMs(meter, own.nowMs);
  const fromMs = Math.max(receipt.fromMs, meter.receiptedMs);
  const ownMs = Math.max(0, Math.min(receipt.untilMs, measuredMs) - fromMs);
  const ownAmount = amountOf(meter.resources, meter.prices, ownMs);
  const reason = faultIn(receipt, meter, measuredMs, own.toleranceMs);
  return reason === undefined
    ? { verdict: "agreed", ownMs, ownAmount }
    : { verdict: "disputed", ownMs, ownAmount, reason };
}

function faultIn(receipt: Receipt, meter: MeterRecord, measuredMs: number, toleranceMs: number): string | undefined {
  const { vm, project, owner, resources, prices } = meter;
  if (receipt.vm !== vm || receipt.project !== project || receipt.owner !== owner)
    return "VM, project or owner are not those of the lease";
  if (canonicalText(receipt.resources) !== canonicalText(resources)) return "resources are not those of the lease";
  if (canonicalText(receipt.prices) !== canonicalText(prices)) return "prices are not those of the hold";
  if (receipt.fromMs !== meter.receiptedMs) return `it goes on from ${receipt.fromMs} ms, not ${meter.receiptedMs} ms`;
  const amount = amountOf(resources, prices, receipt.untilMs - receipt.fromMs);
  if (receipt.amount !== amount) return `the amount is ${amount} by its own prices`;
  if (receipt.untilMs > measuredMs + toleranceMs) return `we measured ${measuredMs} ms of ${receipt.untilMs} ms`;
  return undefined;
}
