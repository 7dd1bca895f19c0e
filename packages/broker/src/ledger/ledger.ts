import { assertNever } from "@muster/base";
import type { LedgerTotals } from "@muster/protocol";
import type { SiteKey } from "../peering/keys.ts";
import { balanceOf, favourBetween, NO_TOTALS } from "./balance.ts";
import { receiptsDueMs, sendReceipts, takeOutcome } from "./collect.ts";
import { takeReceipts } from "./countersign.ts";
import { loadLedgerSet } from "./ledger-book.ts";
import { LEDGER_TIMING, type Ledger, type LedgerEvent, type LedgerTiming } from "./ledger-contract.ts";
import type { LedgerTurn } from "./ledger-turn.ts";
import { meterBorrowed, meterLent, readMeters } from "./meters.ts";

export type LedgerOptions = {
  /** Our own. */
  readonly domain: string;
  /** Keys of the site as its file holds them now; which one signs for a peer, the peering says. */
  readonly keys: () => readonly SiteKey[];
  readonly timing?: Partial<LedgerTiming>;
};

/**
 * Both books with every peer (B6):
 *
 *     lender:   VM runs ──► meter ──period over, VM gone──► receipt open ──verdict──► agreed | disputed
 *     borrower: told so ──► meter                             receipt ──checked, countersigned──► agreed | disputed
 *
 * Receipts go in order, as the borrower's next number says, and again until they are answered. Synchronous, without I/O.
 */
export function createLedger({ domain, keys, timing = {} }: LedgerOptions): Ledger {
  const times: LedgerTiming = { ...LEDGER_TIMING, ...timing };
  let set = loadLedgerSet([], []);
  const totals = (side: "lent" | "borrowed", peer: string): LedgerTotals =>
    set.books.get(`${side}/${peer}`)?.totals ?? NO_TOTALS;
  return {
    load(records, meters, books) {
      set = loadLedgerSet(records, meters, books);
    },
    step(event, env) {
      const turn: LedgerTurn = { domain, keys, timing: times, set, env, changes: [], effects: [] };
      take(turn, event);
      sendReceipts(turn);
      return { changes: turn.changes, effects: turn.effects };
    },
    owns: (call) => [...set.books.values()].some((book) => book.call?.id === call),
    balances() {
      const peers = new Set([...set.books.values()].map(({ peer }) => peer));
      return [...peers].sort().map((peer) => {
        const books = [set.books.get(`lent/${peer}`), set.books.get(`borrowed/${peer}`)];
        const refused = books.reduce((sum, book) => sum + (book?.refused ?? 0), 0);
        const lastRefusal = books.find((book) => book?.lastRefusal !== undefined)?.lastRefusal;
        return balanceOf(peer, totals("lent", peer), totals("borrowed", peer), { refused, lastRefusal });
      });
    },
    favourOf: (peer) => favourBetween(totals("lent", peer), totals("borrowed", peer)),
    nextDueMs() {
      const due = [set.metersDueMs, receiptsDueMs(set.books.values())].filter((at) => at !== undefined);
      return due.length === 0 ? undefined : Math.min(...due);
    },
  };
}

function take(turn: LedgerTurn, event: LedgerEvent): void {
  switch (event.kind) {
    case "lent":
      meterLent(turn, event.record);
      return;
    case "borrowed":
      meterBorrowed(turn, event.record);
      return;
    case "receipts":
      takeReceipts(turn, event.peer, event.ticket, event.body);
      return;
    case "answer": {
      const book = turn.set.books.get(`lent/${event.peer}`);
      if (book?.call?.id === event.call) takeOutcome(turn, book, event.outcome);
      return;
    }
    case "tick":
      readMeters(turn);
      return;
    default:
      assertNever(event);
  }
}
