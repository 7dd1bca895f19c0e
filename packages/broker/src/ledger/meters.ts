/** Meters: what runs by leases is measured here, and becomes receipts at the lender. */
import { amountOf, digestOf, NO_PRICES, type Receipt, type Resources, type VmSpec } from "@muster/protocol";
import type { BorrowRecord } from "../borrow/borrower-contract.ts";
import type { LendRecord } from "../lend/lender-contract.ts";
import { bookOf } from "./ledger-book.ts";
import { OPEN_RECEIPTS_MAX, RECEIPTS_PER_STEP_MAX } from "./ledger-contract.ts";
import { type MeterRecord, meterKey } from "./ledger-record.ts";
import { dropMeter, type LedgerTurn, meterDueMs, ownKeyFor, putMeter, putReceipt } from "./ledger-turn.ts";
import { prove, receiptText } from "./proof.ts";

/**
 * The lender's measure: from the first `running` on, whatever the VM does then (its room stays promised while it is paused or
 * stopped), until it is gone. The price is that of the hold.
 */
export function meterLent(turn: LedgerTurn, record: LendRecord): void {
  const { peer, id: lease, hold, stage, vmPhase } = record;
  const meter = turn.set.meters.get(meterKey({ side: "lent", peer, lease }));
  if (meter === undefined) {
    if (stage !== "leased" || vmPhase !== "running" || hold === undefined) return;
    const { vm, project, owner, spec } = hold;
    const prices = record.prices ?? NO_PRICES;
    const what = { vm, project, owner, image: spec.image, resources: resourcesOfSpec(spec), prices };
    putMeter(turn, { side: "lent", peer, lease, ...what, sinceMs: turn.env.nowMs, receiptedMs: 0 });
  } else if ((stage === "released" || stage === "voided") && meter.endedMs === undefined) {
    const ended = { ...meter, endedMs: turn.env.nowMs };
    if (!writeReceipt(turn, ended, usedMs(ended, turn.env.nowMs), true)) putMeter(turn, ended);
  }
}

/**
 * The borrower's measure: from when it was told that the VM runs until it knows that nothing of it is left. The
 * price is the one that it accepted with the hold.
 */
export function meterBorrowed(turn: LedgerTurn, record: BorrowRecord): void {
  const { peer, id: lease, stage, vmPhase, vm, project, owner, spec, prices = NO_PRICES } = record;
  const known = turn.set.meters.get(meterKey({ side: "borrowed", peer, lease }));
  if (known === undefined && stage !== "leased") return;
  const resources = resourcesOfSpec(spec);
  const meter: MeterRecord = known ?? {
    ...{ side: "borrowed", peer, lease, vm, project, owner, image: spec.image, resources },
    prices,
    receiptedMs: 0,
  };
  const starts = meter.sinceMs === undefined && stage === "leased" && vmPhase === "running";
  const ends = meter.endedMs === undefined && stage === "closed";
  if (known !== undefined && !starts && !ends) return;
  putMeter(turn, {
    ...meter,
    ...(starts ? { sinceMs: turn.env.nowMs } : {}),
    ...(ends ? { endedMs: turn.env.nowMs } : {}),
  });
}

/** Writes the receipts of periods that are over, and forgets meters whose final receipt never came. */
export function readMeters(turn: LedgerTurn): void {
  const { set, env } = turn;
  if (set.metersDueMs === undefined || set.metersDueMs > env.nowMs) return;
  let written = 0;
  let next = Number.POSITIVE_INFINITY;
  for (const meter of [...set.meters.values()]) {
    const due = meterDueMs(turn, meter);
    if (due > env.nowMs) next = Math.min(next, due);
    else if (meter.side === "borrowed") dropMeter(turn, meter);
    else if (written >= RECEIPTS_PER_STEP_MAX) next = env.nowMs;
    else if (readOne(turn, meter)) {
      written += 1;
      const rest = set.meters.get(meterKey(meter));
      if (rest !== undefined) next = Math.min(next, meterDueMs(turn, rest));
    } else next = Math.min(next, env.nowMs + turn.timing.retryMs);
  }
  set.metersDueMs = Number.isFinite(next) ? next : undefined;
}

/** How long the meter has run, up to now or to its end. */
export function usedMs({ sinceMs, endedMs }: MeterRecord, nowMs: number): number {
  return sinceMs === undefined ? 0 : Math.max(0, Math.floor((endedMs ?? nowMs) - sinceMs));
}

function readOne(turn: LedgerTurn, meter: MeterRecord): boolean {
  if (meter.endedMs !== undefined) return writeReceipt(turn, meter, usedMs(meter, turn.env.nowMs), true);
  if (bookOf(turn.set, "lent", meter.peer).open.size >= OPEN_RECEIPTS_MAX) return false;
  const { everyMs } = turn.timing;
  // After a standstill one receipt goes over all periods that were missed.
  const untilMs =
    meter.receiptedMs + Math.floor((usedMs(meter, turn.env.nowMs) - meter.receiptedMs) / everyMs) * everyMs;
  return writeReceipt(turn, meter, untilMs, false);
}

/** Signs and books one receipt; `false` where the site has no key, or no peering in force to say under which. */
function writeReceipt(turn: LedgerTurn, meter: MeterRecord, untilMs: number, final: boolean): boolean {
  const { env, set, domain } = turn;
  const { peer, lease, vm, project, owner, image, resources, sinceMs = 0, prices } = meter;
  const key = ownKeyFor(turn, env.peering(peer) ?? {});
  if (key === undefined) return false;
  const book = bookOf(set, "lent", peer);
  const fromMs = meter.receiptedMs;
  const receipt: Receipt = {
    id: env.newId(),
    sequence: book.sequence + 1,
    ...{ lender: domain, borrower: peer, lease, vm, project, owner, image },
    ...{ fromMs, untilMs: Math.max(fromMs, untilMs), final },
    startedAt: new Date(sinceMs).toISOString(),
    ...{ resources, prices, amount: amountOf(resources, prices, Math.max(fromMs, untilMs) - fromMs) },
    previous: book.digest,
  };
  putReceipt(turn, {
    ...{ side: "lent", peer, receipt, state: "open" },
    digest: digestOf(receipt),
    lenderProof: prove(receiptText(receipt), key),
    madeAtMs: env.nowMs,
  });
  if (final) dropMeter(turn, meter);
  else putMeter(turn, { ...meter, receiptedMs: receipt.untilMs });
  return true;
}

function resourcesOfSpec({ vcpus, memoryMiB, diskGiB, gpus }: VmSpec): Resources {
  return { vcpus, memoryMiB, diskGiB, gpus };
}
