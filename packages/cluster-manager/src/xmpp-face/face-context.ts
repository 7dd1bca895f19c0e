import type { Clock } from "@muster/base";
import type { Bus } from "@muster/xmpp";
import type { Logger } from "pino";
import type { LeaderLoop } from "../leadership/leader-loop.ts";

/** What all parts of the XMPP face share. */
export type FaceContext = {
  readonly bus: Bus;
  readonly loop: Pick<LeaderLoop, "ask" | "post" | "read" | "keep" | "nowMs" | "state" | "views">;
  readonly clock: Clock;
  readonly log: Logger;
  /** The site's XMPP domain. */
  readonly domain: string;
  readonly commandTimeoutMs: number;
  readonly count: (from: "host" | "peer" | "user" | "stranger", verdict: "taken" | "refused" | "ignored") => void;
};

/** How long a stanza's sender is kept waiting for the core. */
export const FACE_ANSWER_WITHIN_MS = 10_000;
