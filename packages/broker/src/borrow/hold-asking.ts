import {
  amountOf,
  type Hold,
  type HoldImage,
  type ImageContent,
  NO_PRICES,
  type Refusal,
  resourcesOf,
} from "@muster/protocol";
import { burstDigest } from "../burst-digest.ts";
import type { BurstOutcome } from "../burst-message.ts";
import { type Exchange, open, type Want } from "./borrow-book.ts";
import { type BorrowTurn, change, close, send } from "./borrow-turn.ts";
import type { BorrowRecord } from "./borrower-contract.ts";
import { overBudget } from "./budget.ts";
import { overPrice } from "./choose-peer.ts";
import { askLease } from "./lease-asking.ts";
import { askAgain, beginRelease } from "./release-asking.ts";
import { goOn } from "./round.ts";

/** Opens the exchange: stored before the first word leaves, then asked. */
export function startHold(turn: BorrowTurn, want: Want, peer: string, incomingId?: string): void {
  const { nowMs } = turn.env;
  const { askMs, flightMs, holdMs, marginMs } = turn.timing;
  const { vm, name, project, owner, spec, leaseMs, maxPricePerHour, tunnel } = want;
  const image = incomingId === undefined ? imageTo(turn, want, peer) : undefined;
  const awaited = incomingId === undefined ? awaitedId(turn, { ...want, image }, peer) : undefined;
  const incoming = incomingId === undefined ? {} : ({ incoming: true } as const);
  const content = { id: incomingId ?? awaited ?? turn.env.newId(), vm, name, project, owner, spec, leaseMs };
  const record: BorrowRecord = {
    ...content,
    peer,
    digest: burstDigest({ ...content, ...incoming, hops: 1, tunnel: tunnel?.reach, image }),
    stage: "holding",
    wanted: "running",
    expiresAtMs: nowMs + holdMs,
    overAtMs: nowMs + askMs + flightMs + holdMs + marginMs,
    renewals: 0,
    revision: 0,
    changedAtMs: nowMs,
    ...(maxPricePerHour === undefined ? {} : { maxPricePerHour }),
    ...(tunnel === undefined ? {} : { tunnel }),
    ...(image === undefined ? {} : { image }),
    ...incoming,
    ...(awaited === undefined ? {} : { awaitsApproval: true }),
  };
  const exchange = open(turn.book, record, nowMs + askMs);
  turn.changes.push({ kind: "put", record });
  turn.effects.push({ kind: "exchange-changed", record });
  askHold(turn, exchange);
}

/** Said to a peer only that fetches images and has not this one. */
function imageTo({ book }: BorrowTurn, { spec, image }: Want, peer: string): ImageContent | undefined {
  const offer = book.peers.get(peer)?.offer;
  return offer?.fetchesImages === true && !offer.images.includes(spec.image) ? image : undefined;
}

/** Asks for the hold, again under the same id until an answer comes or asking is given up (B1, B2). */
export function askHold(turn: BorrowTurn, exchange: Exchange): void {
  const { record } = exchange;
  if (turn.env.nowMs >= exchange.giveUpAtMs) {
    beginRelease(turn, exchange, "the peer did not answer the hold");
    return;
  }
  const request = { kind: "hold", body: holdOf(turn, record) } as const;
  exchange.call = send(turn, record.peer, request, { kind: "hold", id: record.id });
}

/** Held: the lease is asked for at once. Refused: the next peer, once nothing of it can be left at this one. */
export function takeHoldOutcome(turn: BorrowTurn, exchange: Exchange, outcome: BurstOutcome): void {
  const { record } = exchange;
  if (outcome.kind === "answered" && outcome.answer.kind === "held" && outcome.answer.body.id === record.id) {
    const { remainingMs, leaseMsMax, prices } = outcome.answer.body;
    const { graceMs, marginMs } = turn.timing;
    const leaseMs = Math.min(record.leaseMs, leaseMsMax);
    const tooDear = priceRefusal(turn, { ...record, leaseMs, prices });
    if (tooDear !== undefined) {
      beginRelease(turn, exchange, tooDear.message, tooDear);
      return;
    }
    // The hold was alive for no longer than this when it was answered, so no lease of it can begin later.
    const overAtMs = turn.env.nowMs + remainingMs + leaseMs + graceMs + marginMs;
    change(turn, exchange, { stage: "leasing", leaseMs, overAtMs, prices, awaitsApproval: undefined });
    Object.assign(exchange, { tries: 0, unsure: false, giveUpAtMs: turn.env.nowMs + turn.timing.askMs });
    askLease(turn, exchange);
    return;
  }
  if (outcome.kind !== "refused") {
    askAgain(turn, exchange);
    return;
  }
  const { refusal } = outcome;
  if (refusal.reason === "awaiting-approval") {
    turn.book.awaiting.set(`${record.vm}/${record.peer}`, record.id);
    close(turn, exchange, { reason: refusal.message, awaitsApproval: true });
    goOn(turn, exchange, refusal);
    return;
  }
  if (exchange.unsure && refusal.reason !== "exchange-over") {
    beginRelease(turn, exchange, refusal.message, refusal);
    return;
  }
  close(turn, exchange, { reason: refusal.message, awaitsApproval: undefined });
  goOn(turn, exchange, refusal);
}

/**
 * The exchange of the same request that waits for an admin there: asked under its own id, so that the lender knows it (B1).
 * It was closed; it is opened again.
 */
function awaitedId({ book }: BorrowTurn, want: Want, peer: string): string | undefined {
  const key = `${want.vm}/${peer}`;
  const id = book.awaiting.get(key);
  const known = id === undefined ? undefined : book.closed.get(id);
  book.awaiting.delete(key);
  if (known === undefined) return undefined;
  const { vm, name, project, owner, spec, leaseMs, image } = want;
  const tunnel = want.tunnel?.reach;
  const content = { id: known.id, vm, name, project, owner, spec, leaseMs, hops: 1, tunnel, image };
  const same = burstDigest(content) === known.digest;
  if (same) book.closed.delete(known.id);
  return same ? known.id : undefined;
}

/** The price that counts is the one of the hold, whatever was offered. */
function priceRefusal({ book, env }: BorrowTurn, record: BorrowRecord): Refusal | undefined {
  const { spec, prices, maxPricePerHour, project } = record;
  const perHour = amountOf(resourcesOf(spec), prices ?? NO_PRICES, 3_600_000);
  return (
    overPrice(perHour, maxPricePerHour) ??
    overBudget(book, env.budget?.(project), { ...record, prices }, env.nowMs, record.id)
  );
}

/** Without any, where the image was taken away meanwhile, the hold is none of this digest: the lender refuses it. */
function withUrls({ env }: BorrowTurn, image: ImageContent): HoldImage | undefined {
  const urls = env.imageUrls?.(image.digest) ?? [];
  return urls.length === 0 ? undefined : { ...image, urls: [...urls] };
}

function holdOf(turn: BorrowTurn, record: BorrowRecord): Hold {
  const { id, digest, vm, name, project, owner, spec, leaseMs, incoming, tunnel, image } = record;
  const { holdMs } = turn.timing;
  const reach = {
    ...(incoming === undefined ? {} : { incoming }),
    ...(tunnel === undefined ? {} : { tunnel: tunnel.reach }),
    ...(image === undefined ? {} : { image: withUrls(turn, image) }),
  };
  return { id, digest, term: turn.env.term, vm, name, project, owner, spec, holdMs, leaseMs, hops: 1, ...reach };
}
