/**
 * Moves between sites, as the borrower steers them in both directions: its own host is asked directly, the peer by steps of a
 * burst message. The end of the exchange is to the peer's part what a host's declared death is to a host's (B4, P1).
 */
import type { BorrowRecord, BurstOutcome } from "@muster/broker";
import { type MoveStep, moveStepSchema, type PeerMove } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";
import type { VmRecord } from "../core/records.ts";
import type { Round } from "../core/round.ts";
import type { MoveQuestion, MoveTalk } from "./move-talk.ts";

/** Names the call of a step, with VM, step and move: what comes late is no answer to what was asked since (P1). */
const CALL = "move/";
/** What the peer's leader may need to ask its own host, and the way there and back. */
const STEP_TIMEOUT_MS = 12_000;

/** How the one at this end of a move is: `dead` for good, `lost` for now. */
export type Standing = "well" | "lost" | "dead";

/** The exchange under which the VM is, or is to be, at the peer; `undefined` when it is over. */
export function exchangeOf(round: Pick<Round, "borrower">, { id, move }: VmRecord): BorrowRecord | undefined {
  const exchange = round.borrower.exchangeOf(id);
  return exchange !== undefined && exchange.id === move?.peer?.exchange ? exchange : undefined;
}

export function standingOf(round: Round, record: VmRecord, which: "from" | "to"): Standing {
  const { move } = record;
  if (move === undefined) return "dead";
  if (isAtPeer(move, which)) {
    const exchange = exchangeOf(round, record);
    if (exchange === undefined) return "dead";
    return exchange.stage === "releasing" ? "lost" : "well";
  }
  const host = round.set.hosts.get(move[which]);
  if (host === undefined || host.record.fenced) return "dead";
  return host.liveness === "lost" ? "lost" : "well";
}

type Move = NonNullable<VmRecord["move"]>;

/** Whether this end of the move is at the peer. */
export function isAtPeer({ peer }: Move, which: "from" | "to"): boolean {
  return peer !== undefined && (peer.role === "source") === (which === "from");
}

/** Nothing is asked of either side before the lease is there. */
export function waitsForLease(round: Round, record: VmRecord): boolean {
  const { move } = record;
  if (move?.peer?.role !== "destination" || move.stage !== "copying") return false;
  const stage = exchangeOf(round, record)?.stage;
  return stage === "holding" || stage === "leasing";
}

export function askPeer(round: Round, record: VmRecord, talk: MoveTalk, question: MoveQuestion): void {
  const { turn, policy } = round;
  const peer = record.move?.peer;
  if (peer === undefined) return;
  const { step, carries } = question;
  const given = carries === undefined ? undefined : talk.heard[carries];
  const body: PeerMove = {
    id: peer.exchange,
    term: policy.term,
    move: question.id,
    step,
    ...(step === "prepare" && given?.xml !== undefined ? { xml: given.xml } : {}),
    ...(step === "perform" && given?.link !== undefined ? { link: given.link } : {}),
    ...(given?.cookie === undefined ? {} : { cookie: given.cookie }),
  };
  talk.call = { host: peer.domain, step, dueMs: turn.nowMs + 2 * STEP_TIMEOUT_MS };
  turn.effect({
    kind: "peer-send",
    peer: peer.domain,
    call: `${CALL}${record.id}/${step}/${question.id}/${turn.newId()}`,
    request: { kind: "move-step", body },
    timeoutMs: STEP_TIMEOUT_MS,
  });
}

/** The answer of a peer to a step, as if one of our hosts had given it; `undefined` where the call was about something else. */
export function stepAnswered({
  peer,
  call,
  outcome,
}: {
  readonly peer: string;
  readonly call: string;
  readonly outcome: BurstOutcome;
}): Extract<CoreEvent, { kind: "move-answered" }> | undefined {
  if (!call.startsWith(CALL)) return undefined;
  const [vm = "", step, id = ""] = call.slice(CALL.length).split("/");
  if (!isStep(step)) return undefined;
  return { kind: "move-answered", host: peer, vm, id, step, end: endOf(outcome, id) };
}

function isStep(step: string | undefined): step is MoveStep {
  return moveStepSchema.safeParse(step).success;
}

function endOf(outcome: BurstOutcome, move: string): Extract<CoreEvent, { kind: "move-answered" }>["end"] {
  if (outcome.kind === "refused") return outcome;
  if (outcome.kind === "unknown" || outcome.answer.kind !== "move-stepped") return { kind: "unknown" };
  const { state } = outcome.answer.body;
  return state.id === move ? { kind: "state", state } : { kind: "unknown" };
}

/** Why the exchange of a move is over, as far as is known. */
export function whyOver(round: Round, { move }: VmRecord): string {
  for (const record of round.borrower.records())
    if (record.id === move?.peer?.exchange && record.reason !== undefined) return `${record.peer}: ${record.reason}`;
  return `its lease at ${move?.peer?.domain} ended`;
}
