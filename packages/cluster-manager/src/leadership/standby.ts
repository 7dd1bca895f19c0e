import { type Clock, err, type Result } from "@muster/base";
import type { Logger } from "pino";
import type { Store } from "../store/store.ts";
import type { StoreFault } from "../store/store-fault.ts";
import type { ManagerLink } from "./manager-link.ts";
import { isGone, type LeaderSight, type Succession } from "./succession.ts";
import { type BeatPolicy, isHeard, type Suspicion, takeSign, type Verdict, verdictOf, watchFrom } from "./suspicion.ts";

export type StandbyOptions = {
  readonly clock: Clock;
  readonly log: Logger;
  readonly manager: string;
  readonly policy: BeatPolicy;
  /** Without one nobody is suspected: only a store that comes free is taken. */
  readonly link: ManagerLink | undefined;
  readonly succession: Succession;
  /** Until then the store is left to others: after a hand-over of our own. */
  readonly notBeforeMs: number;
  /** Told once when this manager has to wait. */
  readonly onWaiting: () => void;
  readonly signal: AbortSignal;
};

/** What keeps the store closed for now: another leader, or that it is away. */
const WAITED_FOR: ReadonlySet<StoreFault["kind"]> = new Set(["locked", "unavailable"]);
/** Signs of which the next beat need not wait: the store may be ours now. */
const URGENT: ReadonlySet<Verdict> = new Set(["absent"]);
/** A beat is not waited for any longer, so that few are under way (S2). */
const LATE_MS_MAX = 2_000;
/** Between two tries to end a leader that could not be ended. */
const FENCE_AGAIN_MS = 5_000;

/**
 * Waits for the lead, warm: beats tell when to try, the store decides (L1). A leader whose process is gone, or whose
 * component the server does not have, is tried at once; one that misses beats is suspected; one that hangs is ended.
 */
export class Standby {
  readonly #options: StandbyOptions;
  #suspicion: Suspicion = watchFrom(0);
  #watched: LeaderSight | undefined;
  #online = false;
  #verdict: Verdict = "calm";
  #fenceNotBeforeMs = 0;
  #wake: () => void = () => {};
  #nudged = false;
  #invited = false;
  #notBeforeMs: number;

  constructor(options: StandbyOptions) {
    this.#options = options;
    this.#notBeforeMs = options.notBeforeMs;
  }

  /** Resolves with the open store when this manager leads, or with why it never will. */
  async lead(): Promise<Result<Store, StoreFault>> {
    const { clock, log, succession, signal, policy } = this.#options;
    let told: StoreFault["kind"] | undefined;
    for (let beat = 1; !signal.aborted; beat += 1) {
      const leader = succession.leader();
      const verdict = this.#judge(beat, leader);
      if (verdict === "hung" && leader?.process !== undefined) await this.#fence(leader);
      const due = told === undefined || this.#invited || succession.isRipe(verdict);
      if (clock.nowMs() >= this.#notBeforeMs && due) {
        this.#invited = false;
        const opened = await succession.open(verdict);
        if (opened.ok || !WAITED_FOR.has(opened.error.kind)) return opened;
        if (opened.error.kind !== told) log.info({ reason: opened.error.message }, "standing by");
        if (told === undefined) this.#options.onWaiting();
        told = opened.error.kind;
      }
      if (leader !== undefined) this.#send(beat, leader);
      await this.#pause(policy.everyMs);
    }
    return err({ kind: "locked", message: "stopped while waiting for the lead" });
  }

  /** The leader gave the store up and says that it is ours to take. */
  invite(): void {
    this.#notBeforeMs = 0;
    this.#invited = true;
    this.#nudge();
  }

  #nudge(): void {
    this.#nudged = true;
    this.#wake();
  }

  /** What the beats say now. A new leader, and a link of ours that comes back, begin a new count. */
  #judge(beat: number, leader: LeaderSight | undefined): Verdict {
    const { link, log, policy } = this.#options;
    const online = link?.online === true;
    const same = leader?.manager === this.#watched?.manager && leader?.term === this.#watched?.term;
    if (!online || !this.#online || !same) this.#suspicion = watchFrom(beat);
    this.#online = online;
    this.#watched = leader;
    // Whoever the store was left to has it: from now on it is watched like any other leader.
    if (leader !== undefined && isHeard(this.#suspicion)) this.#notBeforeMs = 0;
    const verdict = verdictOf(this.#suspicion, policy);
    if (verdict !== this.#verdict)
      log.info({ leader: leader?.manager, verdict, ...this.#suspicion, beat }, "the leader is seen otherwise");
    this.#verdict = verdict;
    return verdict;
  }

  /** One beat to the leader, and one to ourselves over the same server. */
  #send(beat: number, leader: LeaderSight): void {
    const { link, manager, policy } = this.#options;
    if (link === undefined || !link.online || leader.manager === manager) return;
    // A late answer is a sign of life too.
    const timeoutMs = Math.max(policy.everyMs * policy.misses, Math.min(policy.hangMs, LATE_MS_MAX));
    void link.beat(leader.manager, timeoutMs).then((outcome) => {
      if (outcome.kind !== "silent") this.#suspicion = takeSign(this.#suspicion, { beat, ...outcome });
      const isNew = verdictOf(this.#suspicion, policy) !== this.#verdict;
      if (outcome.kind === "absent" && (isGone(leader) || (isNew && URGENT.has(verdictOf(this.#suspicion, policy)))))
        this.#nudge();
    });
    void link.beat(manager, timeoutMs).then((outcome) => {
      if (outcome.kind === "answered") this.#suspicion = takeSign(this.#suspicion, { beat, kind: "echoed" });
    });
  }

  async #fence(leader: LeaderSight): Promise<void> {
    const { clock, log, succession } = this.#options;
    if (clock.nowMs() < this.#fenceNotBeforeMs) return;
    this.#fenceNotBeforeMs = clock.nowMs() + FENCE_AGAIN_MS;
    const fenced = await succession.fence(leader);
    if (fenced.ok)
      log.warn({ leader: leader.manager, pid: leader.process?.pid }, "the leader gave no sign of life: it is ended");
    else log.error({ leader: leader.manager, reason: fenced.error }, "the leader hangs and cannot be ended");
  }

  #pause(delayMs: number): Promise<void> {
    const { clock, signal } = this.#options;
    if (this.#nudged) {
      this.#nudged = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener("abort", done);
        this.#wake = () => {};
        this.#nudged = false;
        resolve();
      };
      const cancel = clock.setTimer(delayMs, done);
      signal.addEventListener("abort", done);
      this.#wake = done;
    });
  }
}
