/** What two sites did for each other, in both directions (network of favours). */
import type { LedgerBalanceView, LedgerTotals } from "@muster/protocol";
import type { Favour } from "./ledger-contract.ts";

const MS_PER_HOUR = 3_600_000;
export const NO_TOTALS: LedgerTotals = { receipts: 0, open: 0, disputed: 0, amount: 0, vcpuMs: 0 };

/** Positive where we did more for the peer than it did for us. */
export function favourBetween(lent: LedgerTotals, borrowed: LedgerTotals): Favour {
  return { amount: lent.amount - borrowed.amount, vcpuMs: lent.vcpuMs - borrowed.vcpuMs };
}

export function balanceOf(
  peer: string,
  lent: LedgerTotals = NO_TOTALS,
  borrowed: LedgerTotals = NO_TOTALS,
  refusals: { readonly refused: number; readonly lastRefusal?: string | undefined } = { refused: 0 },
): LedgerBalanceView {
  const { amount, vcpuMs } = favourBetween(lent, borrowed);
  const { refused, lastRefusal } = refusals;
  return {
    peer,
    lent: { ...lent },
    borrowed: { ...borrowed },
    net: { amount, vcpuHours: vcpuMs / MS_PER_HOUR },
    refused,
    ...(lastRefusal === undefined ? {} : { lastRefusal }),
  };
}

/**
 * How a peer is to rank among others for what it did for us, from 0 (owes us everything) through 0.5 (even) to 1 (we owe it
 * everything): helped first is who helped us. A borrower prefers low values, so that debts are paid back; a lender high ones.
 */
export function favourShare({ vcpuMs }: Favour, scaleMs: number = 100 * MS_PER_HOUR): number {
  return 0.5 - vcpuMs / (2 * (Math.abs(vcpuMs) + scaleMs));
}
