import { assertNever } from "@muster/base";
import { checkTerm, type Need, permit } from "./admission.ts";
import { decide } from "./approval.ts";
import { expire, nextDue } from "./expiry.ts";
import { answerHold } from "./hold.ts";
import { answerLease } from "./lease.ts";
import { emptyLendBook, emptyPeerBook, findIn, loadLendBook, peerBook } from "./lend-book.ts";
import { beginLendTurn, endLendTurn, type LendTurn, type Reply, refused } from "./lend-turn.ts";
import type { HeldCapacity, Lender, LenderEvent, LendRecord } from "./lender-contract.ts";
import { answerMoveStep } from "./move-step.ts";
import { findNamed, makeRoom, revoke, withdraw } from "./notice.ts";
import { answerOffer, offerTo } from "./offer.ts";
import { answerPull } from "./pull.ts";
import { answerRelease } from "./release.ts";
import { answerRenew } from "./renew.ts";
import { explainRules } from "./rules.ts";
import { takeTunnelEnd, takeVmChange } from "./vm-changed.ts";

/**
 * The lender's half of the exchange with every peer:
 *
 *     hold ──► held ──lease──► leased ──release, end + grace──► releasing ──VM gone──► released
 *     (refused, release first,      └──────────── VM gone by itself ─────────────────────▲
 *      release, hold ran out) ──► voided
 *
 * Synchronous, without I/O; what it returns is to be committed before it is carried out (L3).
 */
export function createLender(): Lender {
  let book = emptyLendBook();
  return {
    load(records) {
      book = loadLendBook(records);
    },
    step(event, env) {
      const turn = beginLendTurn(book, env);
      // What ran out is over for whoever asks now, tick or no tick.
      expire(turn);
      if (event.kind === "request") turn.effects.push({ ticket: event.ticket, ...replyTo(turn, event) });
      else if (event.kind === "vm-changed") takeVmChange(turn, event);
      else if (event.kind === "tunnel-end") takeTunnelEnd(turn, event);
      else if (event.kind === "make-room") makeRoom(turn, event);
      else if (event.kind === "room-found") withdraw(turn, event);
      else if (event.kind === "decide" || event.kind === "revoke") takeAdminWord(turn, event);
      if (turn.changes.length > 0) book.dueMs = nextDue(turn);
      return endLendTurn(turn);
    },
    *held() {
      for (const record of allOf(book.peers.values(), "open")) yield* heldOf(record);
    },
    *records() {
      yield* allOf(book.peers.values(), "closed");
      yield* allOf(book.peers.values(), "open");
    },
    find(peer, id) {
      const known = book.peers.get(peer);
      return known === undefined ? undefined : findIn(known, id);
    },
    explain(domain, wish, env) {
      const peering = env.peering(domain);
      if (peering === undefined) return undefined;
      const peer = book.peers.get(domain) ?? emptyPeerBook(domain);
      return explainRules(beginLendTurn(book, env), peer, peering, wish);
    },
    offer(domain, env) {
      const peering = env.peering(domain);
      const peer = book.peers.get(domain) ?? emptyPeerBook(domain);
      return peering === undefined ? undefined : offerTo(beginLendTurn(book, env), peer, peering);
    },
    nextDueMs: () => book.dueMs,
  };
}

/** What each operation does to capacity, for the check of the peering. */
const NEEDS: Readonly<Record<(LenderEvent & { kind: "request" })["request"]["kind"], Need>> = {
  "offer-query": "look",
  // Whether it is accepted belongs to its policy check: that refusal is remembered like the others (B1).
  hold: "look",
  lease: "take",
  renew: "keep",
  release: "end",
  "move-step": "keep",
  pull: "look",
};

function replyTo(turn: LendTurn, event: LenderEvent & { readonly kind: "request" }): Reply {
  const { request } = event;
  const permitted = permit(turn, event.peer, NEEDS[request.kind]);
  if (!permitted.ok) return refused(permitted.refusal);
  const { peering } = permitted;
  const peer = peerBook(turn.book, event.peer);
  const stale = request.kind === "pull" ? undefined : checkTerm(turn, peer, request.body.term);
  if (stale !== undefined) return refused(stale);
  switch (request.kind) {
    case "offer-query":
      return answerOffer(turn, peer, peering);
    case "hold":
      return answerHold(turn, peer, peering, request.body);
    case "lease":
      return answerLease(turn, peer, peering, request.body);
    case "renew":
      return answerRenew(turn, peer, peering, request.body);
    case "release":
      return answerRelease(turn, peer, request.body);
    case "move-step":
      return answerMoveStep(peer, request.body);
    case "pull":
      return answerPull(turn, peer, request.body);
    default:
      return assertNever(request);
  }
}

/** What an admin of this site says about an exchange. */
function takeAdminWord(turn: LendTurn, event: LenderEvent & { readonly kind: "decide" | "revoke" }): void {
  const { ticket, id } = event;
  const named = findNamed(turn.book, id, event.peer);
  if (!("record" in named)) {
    turn.effects.push({ kind: "refuse", ticket, refusal: named });
    return;
  }
  const { peer, record } = named;
  const why =
    event.kind === "revoke"
      ? revoke(turn, peer, record, event)
      : decide(turn, peer, record, event.approve, event.reason);
  if (why !== undefined) turn.effects.push({ kind: "refuse", ticket, refusal: why });
  else turn.effects.push({ kind: "done", ticket, record: findIn(peer, id) ?? record });
}

function* allOf(
  peers: Iterable<{ readonly open: Map<string, LendRecord>; readonly closed: Map<string, LendRecord> }>,
  part: "open" | "closed",
): Iterable<LendRecord> {
  for (const peer of peers) yield* peer[part].values();
}

function heldOf({ id, peer, stage, hold }: LendRecord): HeldCapacity[] {
  return stage === "held" && hold !== undefined
    ? [{ id, peer, spec: hold.spec, tunnel: hold.tunnel, image: hold.image }]
    : [];
}
