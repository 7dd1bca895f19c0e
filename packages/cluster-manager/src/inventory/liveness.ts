/**
 * Whether a host lives, judged by our own clock: XMPP does not notice a hung host or a cut cable for a long time, and says
 * nothing of hosts while our own link is away.
 *
 * ```
 *  unknown ──heard──▶ alive ──missed──▶ suspect ──missed──▶ lost
 *     ▲                 ▲   unavailable──▲                     │
 *     └─ own link away  └───────────────heard──────────────────┘
 * ```
 */
import type { Liveness } from "@muster/protocol";
import type { SitePolicy } from "../core/core.ts";

/** What is known of a host's signs of life. Times are site time. */
export type SignsOfLife = {
  /** Last stanza of the host in this term. */
  readonly heardAtMs?: number | undefined;
  /** Since when its presence is `unavailable`. */
  readonly unavailableAtMs?: number | undefined;
  /** How often it promised to be heard. */
  readonly heartbeatMs: number;
};

/** Our own link to the XMPP server: since when it is as it is; at a start, since the start. */
export type OwnLink = { readonly online: boolean; readonly sinceMs: number };

export type Judgement = {
  readonly liveness: Liveness;
  /** Not heard for so long, by a link that works, that what runs there is in doubt (P1). */
  readonly silent: boolean;
  /** When the judgement changes by time alone, if it does. */
  readonly dueMs?: number | undefined;
};

export function judge(signs: SignsOfLife, link: OwnLink, timing: SitePolicy["timing"], nowMs: number): Judgement {
  if (!link.online) return { liveness: "unknown", silent: false };
  const settledMs = link.sinceMs + timing.settleMs;
  const { heardAtMs, unavailableAtMs, heartbeatMs } = signs;
  if (heardAtMs === undefined) {
    return nowMs < settledMs
      ? { liveness: "unknown", silent: false, dueMs: settledMs }
      : { liveness: "unknown", silent: true };
  }
  // Silence from before our link came back is our own: it is given the time to settle.
  if (heardAtMs < link.sinceMs && nowMs < settledMs) return { liveness: "unknown", silent: false, dueMs: settledMs };
  const fromMs = Math.max(heardAtMs, link.sinceMs);
  const lostMs = fromMs + timing.lostAfterMissed * heartbeatMs;
  if (nowMs >= lostMs) return { liveness: "lost", silent: true };
  const suspectMs = fromMs + timing.suspectAfterMissed * heartbeatMs;
  if (unavailableAtMs !== undefined || nowMs >= suspectMs) return { liveness: "suspect", silent: false, dueMs: lostMs };
  return { liveness: "alive", silent: false, dueMs: suspectMs };
}
