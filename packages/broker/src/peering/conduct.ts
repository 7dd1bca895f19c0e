/**
 * How a peer has behaved towards us: promises kept and broken, and offences. Pure; the core stores it under
 * `conduct/<domain>`. The score ranks the peer (see `rank-peers.ts`); a rule that the admin sets suspends it.
 */
import type { SuspendRule } from "@muster/protocol";

/**
 * `signature`: not signed, or not by the pinned key. `malformed`: signed or not, it does not decode. `flood`: beyond its
 * rate. `receipt`: more than we measured, or altered.
 */
export const OFFENCES = ["signature", "malformed", "flood", "receipt"] as const;
export type Offence = (typeof OFFENCES)[number];

/** Those that no honest peer commits by accident: only they count towards a suspension. */
const GRAVE: ReadonlySet<Offence> = new Set(["signature", "receipt"]);
/** Most grave offences whose time is remembered; no rule can ask for more (S2). */
export const GRAVE_REMEMBERED_MAX = 1_000;
/** Part of what was known of a peer's promises that the next one leaves. */
const DECAY = 0.9;
const MESSAGE_LENGTH_MAX = 300;

export type Conduct = {
  readonly domain: string;
  /** Leases that ran, and that were granted and never did. */
  readonly kept: number;
  readonly broken: number;
  /** The same, the older the less: what the score is made of. */
  readonly promised: number;
  readonly held: number;
  readonly offences: Readonly<Record<Offence, number>>;
  readonly last?: { readonly offence: Offence; readonly message: string; readonly atMs: number } | undefined;
  /** When grave offences came, oldest first. */
  readonly graveAtMs: readonly number[];
};

export function newConduct(domain: string): Conduct {
  const offences = { signature: 0, malformed: 0, flood: 0, receipt: 0 };
  return { domain, kept: 0, broken: 0, promised: 0, held: 0, offences, graveAtMs: [] };
}

/** A lease came to run, or was over without: what was before counts a little less. */
export function notePromise(conduct: Conduct, wasKept: boolean): Conduct {
  return {
    ...conduct,
    kept: conduct.kept + (wasKept ? 1 : 0),
    broken: conduct.broken + (wasKept ? 0 : 1),
    promised: conduct.promised * DECAY + 1,
    held: conduct.held * DECAY + (wasKept ? 1 : 0),
  };
}

/** `count` offences of one kind, the last of them said in `message`. */
export function noteOffence(
  conduct: Conduct,
  said: { readonly offence: Offence; readonly message: string; readonly count: number },
  atMs: number,
): Conduct {
  const { offence, count } = said;
  const message = said.message.replace(/\p{Cc}+/gu, " ").slice(0, MESSAGE_LENGTH_MAX);
  const times = GRAVE.has(offence) ? Array.from({ length: Math.min(count, GRAVE_REMEMBERED_MAX) }, () => atMs) : [];
  return {
    ...conduct,
    offences: { ...conduct.offences, [offence]: conduct.offences[offence] + count },
    last: { offence, message, atMs },
    graveAtMs: [...conduct.graveAtMs, ...times].slice(-GRAVE_REMEMBERED_MAX),
  };
}

/** 0 to 1; as if one more had run: a peer that was never tried is no worse than one that always kept its word. */
export function reliabilityOf({ promised, held }: Conduct): number {
  return (held + 1) / (promised + 1);
}

/** Why the rule suspends the peer now, with its figures; `undefined` where it does not. */
export function suspensionBy(
  rule: SuspendRule | undefined,
  { graveAtMs, last }: Conduct,
  nowMs: number,
): string | undefined {
  if (rule === undefined) return undefined;
  const within = graveAtMs.filter((atMs) => atMs > nowMs - rule.withinMs).length;
  if (within < rule.offences) return undefined;
  const period = `${Math.round(rule.withinMs / 1_000)} s`;
  return `by rule: ${within} false signatures or receipts within ${period}, last: ${last?.message ?? ""}`.slice(0, 200);
}

/** An admin resumes the peer: what was counts towards no other suspension. */
export function forgive(conduct: Conduct): Conduct {
  return { ...conduct, graveAtMs: [] };
}
