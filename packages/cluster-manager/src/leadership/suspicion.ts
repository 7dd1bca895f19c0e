/**
 * Whether the leader lives, judged by beats alone. Each beat is sent together with one to ourselves over the same server: a
 * beat counts as missed only where our own came back, so that a server that is gone, a link that is cut, and a stop of our
 * own process make nobody a suspect. An answer that comes late says that the leader lives as well as one in time; what it
 * says of being busy, it is given twice of beyond the patience for one at rest, up to a bound: a hung one is always found.
 *
 * ```
 *  calm ──4 missed──▶ suspected ──no sign for hangMs──▶ hung
 *   │ ▲                   │
 *   │ └──── answered ◀────┘
 *   └─ the server says there is nobody ──▶ absent, or unseen where it never answered yet ──for absentMs──▶ hung
 * ```
 */
export type BeatPolicy = {
  readonly everyMs: number;
  /** Beats missed before the leader is suspected. */
  readonly misses: number;
  /** Without a sign for so long, a leader on this machine is ended. */
  readonly hangMs: number;
  /** A leader that the server does not have for so long, while it has us, leads nobody. */
  readonly absentMs: number;
};

/** `unseen`: nobody is there, but nobody was since the watch began: after a restart of the server its link may yet come. */
export type Verdict = "calm" | "suspected" | "absent" | "unseen" | "hung";

/** Beats by number. `watchedFrom`: before it, nothing was expected of this leader. */
export type Suspicion = {
  readonly watchedFrom: number;
  /** Last beat to ourselves that came back, and last one the leader answered. */
  readonly echoed: number;
  readonly answered: number;
  /** First beat in a row that the server answered in the leader's place. */
  readonly absentFrom: number | undefined;
  /** How long the leader said that it lately was busy in one go. */
  readonly lagMs: number;
};

export type BeatSign =
  | { readonly beat: number; readonly kind: "echoed" | "absent" }
  | { readonly beat: number; readonly kind: "answered"; readonly lagMs: number };

/** Most that a busy leader is waited for beyond the patience for one at rest. */
export const BUSY_GRACE_MS = 2_000;

/** A new leader to watch, or our own link is back: everything before counts for nothing. */
export function watchFrom(beat: number): Suspicion {
  return { watchedFrom: beat, echoed: beat, answered: beat, absentFrom: undefined, lagMs: 0 };
}

/** Whether the leader has answered since the watch began. */
export function isHeard({ watchedFrom, answered }: Suspicion): boolean {
  return answered > watchedFrom;
}

export function takeSign(state: Suspicion, sign: BeatSign): Suspicion {
  if (sign.beat < state.watchedFrom) return state;
  switch (sign.kind) {
    case "echoed":
      return { ...state, echoed: Math.max(state.echoed, sign.beat) };
    case "answered":
      // However late: it lived when the newest beat that went around had done so.
      return {
        ...state,
        answered: Math.max(state.answered, sign.beat, state.echoed),
        absentFrom: undefined,
        lagMs: sign.lagMs,
      };
    case "absent":
      return sign.beat < state.answered ? state : { ...state, absentFrom: state.absentFrom ?? sign.beat };
  }
}

export function verdictOf(state: Suspicion, { everyMs, misses, hangMs, absentMs }: BeatPolicy): Verdict {
  const missed = state.echoed - state.answered;
  if (state.absentFrom !== undefined) {
    if ((state.echoed - state.absentFrom) * everyMs >= absentMs) return "hung";
    return isHeard(state) ? "absent" : "unseen";
  }
  const missedMs = missed * everyMs - graceMs(state, everyMs);
  if (missedMs >= Math.max(hangMs, misses * everyMs)) return "hung";
  return missedMs >= misses * everyMs ? "suspected" : "calm";
}

/** Delays of less than a beat are no reason to wait. */
function graceMs({ lagMs }: Suspicion, everyMs: number): number {
  return lagMs < everyMs ? 0 : Math.min(2 * lagMs, BUSY_GRACE_MS);
}
