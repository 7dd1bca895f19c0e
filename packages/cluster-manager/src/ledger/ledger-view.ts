import type { LedgerRecord } from "@muster/broker";
import type { LedgerEntryView } from "@muster/protocol";

/** An entry as it is shown: times of this site as text, everything else as it is stored. */
export function ledgerEntryView({ madeAtMs, settledAtMs, ...record }: LedgerRecord): LedgerEntryView {
  const { verdict, borrowerProof, refused, ...rest } = record;
  return {
    ...rest,
    ...(verdict === undefined ? {} : { verdict }),
    ...(borrowerProof === undefined ? {} : { borrowerProof }),
    ...(refused === undefined ? {} : { refused }),
    madeAt: new Date(madeAtMs).toISOString(),
    ...(settledAtMs === undefined ? {} : { settledAt: new Date(settledAtMs).toISOString() }),
  };
}
