import { type Clock, type Result, type Rng, uuidv7 } from "@muster/base";
import type { SiteClient } from "@muster/client";
import type { Refusal } from "@muster/protocol";
import type { Federation } from "../federation.ts";
import type { SiteRun } from "../process/site-run.ts";
import { tourSteps } from "./steps.ts";

/** How a tour went; every claim is one check on the running federation. */
export type TourReport = { readonly passed: number; readonly failed: number };

export type TourStep = { readonly title: string; readonly run: (guide: Guide) => Promise<void> };

/** A claim did not hold in time. */
export class ClaimFailed extends Error {
  override readonly name = "ClaimFailed";
}

/** Longest time that one claim may take to become true. */
const CLAIM_TIMEOUT_MS = 20_000;

/** What a step has at hand: the first two sites, and `claim`, which waits on the sites' events until it holds. */
export class Guide {
  readonly home: SiteRun;
  readonly peer: SiteRun;
  readonly clock: Clock;
  readonly #rng: Rng;
  readonly #say: (line: string) => void;
  readonly #wakers = new Set<() => void>();
  passed = 0;
  failed = 0;

  constructor(home: SiteRun, peer: SiteRun, clock: Clock, rng: Rng, say: (line: string) => void) {
    this.home = home;
    this.peer = peer;
    this.clock = clock;
    this.#rng = rng;
    this.#say = say;
  }

  newRequestId(): string {
    return `tour-${uuidv7(this.clock, this.#rng)}`;
  }

  /** Wakes every claim that waits: something happened at a site. */
  wake(): void {
    for (const waker of this.#wakers) waker();
  }

  /**
   * Waits until `look` finds what is claimed: it returns a sentence about what it saw, or `undefined` for not yet.
   * A claim that does not hold in time fails, and ends its step.
   */
  async claim(what: string, look: () => Promise<string | undefined>): Promise<void> {
    const deadlineMs = this.clock.nowMs() + CLAIM_TIMEOUT_MS;
    for (;;) {
      const seen = await look();
      if (seen !== undefined) {
        this.passed += 1;
        this.#say(`  ok    ${what}${seen === "" ? "" : `: ${seen}`}`);
        return;
      }
      if (this.clock.nowMs() > deadlineMs) {
        this.failed += 1;
        this.#say(`  FAIL  ${what}: not within ${CLAIM_TIMEOUT_MS / 1000} s`);
        throw new ClaimFailed(what);
      }
      await this.#untilSomethingHappens();
    }
  }

  /** The value of an answer that must not be a refusal. */
  async value<Value>(what: string, answer: Promise<Result<Value, Refusal>>): Promise<Value> {
    const result = await answer;
    if (result.ok) return result.value;
    this.failed += 1;
    this.#say(`  FAIL  ${what}: ${result.error.message}`);
    throw new ClaimFailed(what);
  }

  /** The refusal that an answer must be. */
  async refusal(what: string, answer: Promise<Result<unknown, Refusal>>, reason: RegExp): Promise<void> {
    const result = await answer;
    await this.claim(what, async () => {
      if (!result.ok && reason.test(`${result.error.kind} ${result.error.reason} ${result.error.message}`))
        return result.error.message;
      this.failed += 1;
      this.#say(`  FAIL  ${what}: got ${result.ok ? "accepted" : `${result.error.kind}: ${result.error.message}`}`);
      throw new ClaimFailed(what);
    });
  }

  #untilSomethingHappens(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        this.#wakers.delete(wake);
        resolve();
      };
      // Liveness and lease clocks move on without an event: look again after a while in any case.
      const cancel = this.clock.setTimer(250, wake);
      this.#wakers.add(wake);
    });
  }
}

/** Walks the main job on a running federation with real requests; prints every step and what it checked. */
export async function runTour(
  federation: Federation,
  io: { readonly clock: Clock; readonly rng: Rng; readonly say: (line: string) => void },
): Promise<TourReport> {
  const [home, peer] = federation.sites;
  if (home === undefined || peer === undefined) {
    io.say("the tour needs two sites: leave --sites at 2 or more");
    return { passed: 0, failed: 1 };
  }
  const guide = new Guide(home, peer, io.clock, io.rng, io.say);
  const abort = new AbortController();
  const followed = [home, peer].map((site) => follow(site.client, guide, abort.signal));
  const startedMs = io.clock.nowMs();
  const steps = tourSteps();
  for (const [index, step] of steps.entries()) {
    io.say(`${index + 1}. ${step.title}`);
    try {
      await step.run(guide);
    } catch (cause) {
      if (!(cause instanceof ClaimFailed)) {
        guide.failed += 1;
        io.say(`  FAIL  ${cause instanceof Error ? cause.message : String(cause)}`);
      }
    }
  }
  abort.abort();
  await Promise.allSettled(followed);
  io.say(`the tour took ${((io.clock.nowMs() - startedMs) / 1000).toFixed(1)} s`);
  return { passed: guide.passed, failed: guide.failed };
}

async function follow(client: SiteClient, guide: Guide, signal: AbortSignal): Promise<void> {
  for await (const _event of client.events(signal)) guide.wake();
}
