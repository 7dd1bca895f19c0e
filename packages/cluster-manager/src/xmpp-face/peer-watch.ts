/**
 * How much a peer may say, and what of it was refused. The rate is checked before a signature is, so that a flood costs
 * little; refusals are gathered and told to the core a few times a second at most (S2).
 */
import type { CancelTimer, Clock } from "@muster/base";
import type { Offence } from "@muster/broker";
import { type PeerRate, type Refusal, refusal } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";

/** Where the admin says nothing: far above what an honest peer with thousands of leases says. */
export const PEER_RATE: PeerRate = { perSecond: 200, burst: 2_000 };
/** Questions of one peer that are being answered at once. */
export const PEER_WORK_MAX = 256;
const GATHER_MS = 250;

type Bucket = { tokens: number; atMs: number; working: number };
type Gathered = { readonly peer: string; readonly offence: Offence; message: string; count: number };

export class PeerWatch {
  readonly #clock: Clock;
  readonly #tell: (event: CoreEvent) => void;
  readonly #buckets = new Map<string, Bucket>();
  readonly #gathered = new Map<string, Gathered>();
  #cancel: CancelTimer | undefined;

  constructor(clock: Clock, tell: (event: CoreEvent) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** Lets one message of the peer in, or says when the next one may come. Call only for peers: strangers have no bucket. */
  admit(peer: string, rate: PeerRate = PEER_RATE): Refusal | undefined {
    const nowMs = this.#clock.nowMs();
    const bucket = this.#buckets.get(peer) ?? { tokens: rate.burst, atMs: nowMs, working: 0 };
    this.#buckets.set(peer, bucket);
    const gained = ((nowMs - bucket.atMs) * rate.perSecond) / 1_000;
    bucket.tokens = Math.min(rate.burst, bucket.tokens + gained);
    bucket.atMs = nowMs;
    if (bucket.tokens >= 1 && bucket.working < PEER_WORK_MAX) {
      bucket.tokens -= 1;
      return undefined;
    }
    const limit =
      bucket.tokens < 1
        ? `${rate.perSecond} messages a second`
        : `${PEER_WORK_MAX} messages that wait for their answer`;
    return refusal("resource-constraint", "rate-limited", `your site may send ${limit} here; wait a little`, {
      retryAfterMs: Math.max(100, Math.ceil(((1 - bucket.tokens) * 1_000) / rate.perSecond)),
    });
  }

  /** Counts the message as being worked on until it is answered. */
  async whileWorking<Value>(peer: string, work: () => Promise<Value>): Promise<Value> {
    const bucket = this.#buckets.get(peer);
    if (bucket !== undefined) bucket.working += 1;
    try {
      return await work();
    } finally {
      if (bucket !== undefined) bucket.working -= 1;
    }
  }

  /** Something of the peer was refused: told to the core where it is an offence. */
  refused(peer: string, why: Refusal): void {
    const offence = offenceOf(why);
    if (offence === undefined) return;
    const key = `${peer} ${offence}`;
    const known = this.#gathered.get(key) ?? { peer, offence, message: "", count: 0 };
    known.count += 1;
    known.message = `${why.reason}: ${why.message}`;
    this.#gathered.set(key, known);
    this.#cancel ??= this.#clock.setTimer(GATHER_MS, () => this.#flush());
  }

  stop(): void {
    this.#cancel?.();
  }

  #flush(): void {
    this.#cancel = undefined;
    const all = [...this.#gathered.values()];
    this.#gathered.clear();
    for (const one of all) this.#tell({ kind: "peer-offence", ...one });
  }
}

function offenceOf({ reason }: Refusal): Offence | undefined {
  if (reason === "unsigned" || reason === "bad-signature" || reason === "wrong-sender") return "signature";
  if (reason === "rate-limited") return "flood";
  return reason === "unknown-message" || reason.startsWith("malformed-") ? "malformed" : undefined;
}
