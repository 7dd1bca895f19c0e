/** The ledger within the core: it hears of every exchange that changed, and its receipts belong to the same commit (B6, L3). */
import type { LedgerEvent } from "@muster/broker";
import { refusal } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import type { Round } from "../core/round.ts";
import { takeOffence } from "../peering/peer-conduct.ts";

/** Tells the ledger something and carries out what follows from it. A site without one keeps none. */
export function stepLedger(round: Round, event: LedgerEvent): void {
  const { ledger, turn, set } = round;
  if (ledger === undefined) return;
  const { changes, effects } = ledger.step(event, {
    nowMs: turn.nowMs,
    newId: () => turn.newId(),
    peering: (domain) => set.peers.find(domain, turn.nowMs),
  });
  for (const change of changes) {
    if (change.kind === "put") turn.put(change.key, change.value);
    else turn.delete(change.key);
  }
  for (const effect of effects) {
    switch (effect.kind) {
      case "answer":
        turn.answer(effect.ticket, { kind: "burst", answer: effect.answer });
        break;
      case "refuse":
        turn.answer(effect.ticket, { kind: "refused", refusal: effect.refusal });
        break;
      case "send": {
        const { peer, call, request, timeoutMs } = effect;
        turn.effect({ kind: "peer-send", peer, call, request, timeoutMs });
        break;
      }
      case "tell":
        if (effect.offence === true)
          takeOffence(round, { peer: effect.peer, offence: "receipt", message: effect.message, count: 1 });
        else turn.event("peer", effect.peer, effect.message);
        break;
    }
  }
}

type Receipts = Extract<Extract<CoreEvent, { kind: "peer-request" }>["request"], { kind: "receipts" }>;

/** Receipts of a lender, for a verdict. */
export function takeReceipts(
  round: Round,
  { peer, ticket, request }: { readonly peer: string; readonly ticket: number; readonly request: Receipts },
): void {
  if (round.ledger !== undefined) stepLedger(round, { kind: "receipts", peer, ticket, body: request.body });
  else
    round.turn.answer(ticket, {
      kind: "refused",
      refusal: refusal("unavailable", "no-ledger", "this site keeps no ledger", { retryAfterMs: 3_600_000 }),
    });
}
