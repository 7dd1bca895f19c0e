/** The borrower's half within the core: VMs that do not fit at home go to a peer, one exchange at a time (B2). */
import { type BorrowerEnv, type BorrowerEvent, type BorrowRecord, favourShare, rankWeightsOf } from "@muster/broker";
import { HOLD_IMAGE_URLS_MAX, type ImageContent, isFinal, type VmPhase, type VmSpec } from "@muster/protocol";
import { pauseMs, WANT_BASE_MS, WANT_MAX_MS, WANTS_OPEN_MAX } from "../core/limits.ts";
import type { VmRecord } from "../core/records.ts";
import { changeVm, type Round } from "../core/round.ts";
import type { VmEntry } from "../core/working-set.ts";
import { stepLedger } from "../ledger/keep-ledger.ts";
import { newsOfMove } from "../move/moving.ts";
import { keptAccess } from "../networks/access.ts";
import { peerReliability, takePromise } from "../peering/peer-conduct.ts";
import { awaitsGateway, tunnelWish } from "../tunnels/tunnel-wish.ts";
import { requeue } from "./attempt-end.ts";
import { knownImage } from "./guest.ts";
import { endsForGood, wantedThere } from "./on-notice.ts";

const DAY_MS = 24 * 3_600_000;

export function borrowerEnv(
  { policy, set, ledger, imageUrl }: Pick<Round, "policy" | "set" | "ledger" | "imageUrl">,
  nowMs: number,
  newId: () => string,
): BorrowerEnv {
  return {
    nowMs,
    term: policy.term,
    newId,
    peerings: () => set.peers.all(nowMs),
    imageUrls: (digest) => urlsForPeers({ set, imageUrl }, digest, nowMs),
    budget(project) {
      const budget = Object.hasOwn(policy.budgets ?? {}, project) ? policy.budgets?.[project] : undefined;
      if (budget === undefined) return undefined;
      const lengthMs = budget.periodDays * DAY_MS;
      const sinceMs = Math.floor(nowMs / lengthMs) * lengthMs;
      return { limit: budget.limit, sinceMs, endsMs: sinceMs + lengthMs };
    },
    favour: (domain) => (ledger === undefined ? 0.5 : favourShare(ledger.favourOf(domain))),
    reliability: (domain) => peerReliability(set.peers, domain),
    rankWeights: rankWeightsOf(policy.weights),
  };
}

/** Tells the borrower something and carries out what follows from it. */
export function stepBorrower(round: Round, event: BorrowerEvent): void {
  const { turn } = round;
  const { changes, effects } = round.borrower.step(
    event,
    borrowerEnv(round, turn.nowMs, () => turn.newId()),
  );
  for (const change of changes) {
    if (change.kind === "put") {
      turn.put(`borrow/${change.record.peer}/${change.record.id}`, change.record);
      stepLedger(round, { kind: "borrowed", record: change.record });
    } else if (change.kind === "spent") turn.put(`spent/${change.record.project}`, change.record);
    else turn.delete(`borrow/${change.peer}/${change.id}`);
  }
  for (const effect of effects) {
    switch (effect.kind) {
      case "send": {
        const { peer, call, request, timeoutMs } = effect;
        turn.effect({ kind: "peer-send", peer, call, request, timeoutMs });
        break;
      }
      case "exchange-changed":
        takeExchange(round, effect.record);
        break;
      case "promise":
        takePromise(round, effect.record.peer, effect.record.name, effect.kept);
        break;
      case "not-placed": {
        const entry = round.set.vms.get(effect.vm);
        if (entry === undefined) break;
        setWanting(round, entry, false);
        entry.peers = { candidates: effect.candidates, refusal: effect.refusal };
        if (effect.refusal.retryAfterMs !== undefined)
          entry.wantAtMs = turn.nowMs + Math.min(WANT_MAX_MS, Math.max(WANT_BASE_MS, effect.refusal.retryAfterMs));
        break;
      }
    }
  }
}

/** A VM that waits and may burst: peers are asked, again after ever longer pauses while they say no. */
export function turnOutward(round: Round, entry: VmEntry): void {
  const { set, turn } = round;
  const { record } = entry;
  if (record.origin.kind !== "local" || record.place.kind !== "none") return;
  if (!set.peers.mayBorrow(turn.nowMs)) return;
  if (turn.nowMs < entry.wantAtMs || (!entry.wanting && set.wantsOpen >= WANTS_OPEN_MAX)) {
    set.later.add(record.id);
    return;
  }
  const awaited = awaitsGateway(set, record);
  if (awaited !== undefined) {
    entry.peers = { candidates: [], refusal: awaited };
    entry.wantAtMs = turn.nowMs + (awaited.retryAfterMs ?? WANT_BASE_MS);
    set.later.add(record.id);
    return;
  }
  entry.wants += 1;
  entry.wantAtMs = turn.nowMs + pauseMs(entry.wants - 1, WANT_BASE_MS, WANT_MAX_MS);
  setWanting(round, entry, true);
  set.later.add(record.id);
  const { id: vm, name, project, user: owner, leaseMs, maxPricePerHour } = record;
  const spec = specForPeers(record);
  const tunnel = tunnelWish(set, record);
  const wish = { vm, name, project, owner, spec, leaseMs, maxPricePerHour };
  const image = imageForPeers(round, record.imageDigest, turn.nowMs);
  const extras = { ...(tunnel === undefined ? {} : { tunnel }), ...(image === undefined ? {} : { image }) };
  stepBorrower(round, { kind: "want", ...wish, ...extras });
}

/** Our tags and networks mean nothing to a peer: the image goes by its digest, its interfaces are the peer's. */
export function specForPeers({ spec, imageDigest }: Pick<VmRecord, "spec" | "imageDigest">): VmSpec {
  const { networks: _ours, ...rest } = spec;
  return { ...rest, image: imageDigest ?? spec.image };
}

/** For a peer that has not the image: what it is, where there is a place to fetch it. */
export function imageForPeers(
  site: ImageSite,
  imageDigest: string | undefined,
  nowMs: number,
): ImageContent | undefined {
  const known = imageDigest === undefined ? undefined : knownImage(site, imageDigest, nowMs);
  if (known === undefined || known.urls.length === 0) return undefined;
  const { urls: _, ...content } = known;
  return content;
}

/** The same places as for our own hosts. */
function urlsForPeers(site: ImageSite, imageDigest: string, nowMs: number): readonly string[] {
  return knownImage(site, imageDigest, nowMs)?.urls.slice(0, HOLD_IMAGE_URLS_MAX) ?? [];
}

type ImageSite = Pick<Round, "set" | "imageUrl">;

function setWanting({ set }: Round, entry: VmEntry, wanting: boolean): void {
  if (entry.wanting === wanting) return;
  entry.wanting = wanting;
  set.wantsOpen += wanting ? 1 : -1;
}

/** The VM is not wanted at any peer any more. */
export function releaseAtPeer(round: Round, entry: VmEntry, reason: string): void {
  setWanting(round, entry, false);
  stepBorrower(round, { kind: "release", vm: entry.record.id, reason });
}

export function wantAtPeer(round: Round, entry: VmEntry, wanted: "running" | "paused" | "stopped" | "deleted"): void {
  if (wanted === "deleted") releaseAtPeer(round, entry, "deleted by its user");
  else stepBorrower(round, { kind: "set-wanted", vm: entry.record.id, wanted });
}

/** Copies an exchange into its VM. What does not belong together any more is released (P1). */
function takeExchange(round: Round, exchange: BorrowRecord): void {
  noteTunnel(round, exchange);
  const entry = round.set.vms.get(exchange.vm);
  const ending = exchange.stage === "releasing" || exchange.stage === "closed";
  const record = entry?.record;
  const there = record?.place.kind === "peer" && record.place.exchange === exchange.id;
  const mayGo = record !== undefined && record.place.kind === "none" && !isFinal(record.phase);
  const ends = exchange.stage === "leased" ? reasonOfEnd(exchange) : "";
  round.turn.event("lease", exchange.id, `${exchange.name} at ${exchange.peer} is ${exchange.stage}${ends}`);
  const news = record === undefined ? "none" : newsOfMove(record, exchange);
  if (news !== "none") round.set.moveNews.add(exchange.vm);
  if (news === "move") return;
  if (entry === undefined || record === undefined || isFinal(record.phase) || !(there || mayGo)) {
    if (!ending) stepBorrower(round, { kind: "release", vm: exchange.vm, reason: "not wanted at a peer any more" });
    return;
  }
  setWanting(round, entry, false);
  if (exchange.stage === "closed") {
    if (there) endExchange(round, entry, exchange);
    return;
  }
  if (ending && !there) return;
  entry.peers = undefined;
  changeVm(round, entry, {
    phase: phaseAt(exchange, record.wanted === "deleted"),
    place: { kind: "peer", peer: exchange.peer, exchange: exchange.id },
    address: homeAddress(exchange) ?? exchange.address,
    access: keptAccess(record.access, exchange.access),
    reason: reasonAt(exchange),
    ...(exchange.stage === "leased" ? { expiresAtMs: undefined } : {}),
  });
  // A new exchange begins with a running VM; what its user has asked for meanwhile goes along.
  const wanted = wantedThere(round.policy, entry.record, exchange) ?? "deleted";
  if (!ending && wanted !== exchange.wanted) wantAtPeer(round, entry, wanted);
}

/** On its home network a VM has what was reserved for it, whatever the lender says. */
function homeAddress({ stage, tunnel }: BorrowRecord): string | undefined {
  return stage === "leased" ? tunnel?.nic.address?.split("/")[0] : undefined;
}

/** What the exchange's tunnel is to be may be another now. */
function noteTunnel({ set: { tunnels } }: Round, { id, vm, tunnel }: BorrowRecord): void {
  if (tunnel === undefined) return;
  tunnels.noteVm(id, vm);
  tunnels.touch({ kind: "gateway", id });
}

/** Confirmed over at the peer: deleted as wanted, or back into the queue at its old age. */
function endExchange(round: Round, entry: VmEntry, exchange: BorrowRecord): void {
  if (entry.record.wanted === "deleted") {
    changeVm(round, entry, { phase: "deleted", address: undefined, reason: undefined });
    return;
  }
  const reason = `its exchange with ${exchange.peer} ended${exchange.reason === undefined ? "" : `: ${exchange.reason}`}`;
  if (endsForGood(round.policy, entry.record, exchange)) {
    const forGood = `${reason}; it was to stop then`.slice(0, 500);
    changeVm(round, entry, { phase: "deleted", wanted: "deleted", address: undefined, reason: forGood });
    return;
  }
  const ran = entry.record.phase === "running" || exchange.renewals > 0;
  if (ran) entry.wants = 0;
  round.set.later.add(entry.record.id);
  requeue(round, entry, reason);
}

function reasonOfEnd({ endsAtMs, endReason }: BorrowRecord): string {
  return endsAtMs === undefined ? "" : ` until ${new Date(endsAtMs).toISOString()}: ${endReason ?? ""}`;
}

function reasonAt(exchange: BorrowRecord): string | undefined {
  const { stage, vmPhase, peer, reason, endsAtMs, endReason } = exchange;
  if (stage === "leased" && endsAtMs !== undefined)
    return `its lease at ${peer} ends at ${new Date(endsAtMs).toISOString()}: ${endReason ?? reason ?? ""}`.slice(
      0,
      500,
    );
  if (stage !== "leased" || vmPhase !== "queued") return reason;
  return `it waits at ${peer} for room${reason === undefined ? "" : `: ${reason}`}`.slice(0, 500);
}

function phaseAt(exchange: BorrowRecord, deleting: boolean): VmPhase {
  if (deleting) return "deleting";
  if (exchange.stage === "releasing") return "in-doubt";
  if (exchange.stage !== "leased") return "placing";
  switch (exchange.vmPhase) {
    case "running":
    case "paused":
    case "stopped":
    case "in-doubt":
      return exchange.vmPhase;
    case "deleting":
    case "deleted":
    case "refused":
      return "in-doubt";
    default:
      return "placing";
  }
}
