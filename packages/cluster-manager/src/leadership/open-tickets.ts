import { type CancelTimer, type Clock, InvariantError } from "@muster/base";
import { type Refusal, refusal } from "@muster/protocol";
import type { CoreViews } from "../core/core.ts";
import type { Answer } from "../core/effect.ts";
import type { Ticket } from "../core/event.ts";

/** How an answer is shown to its caller: called at once when the answer is out, while the views still match it. */
export type Render<Shown> = (answer: Answer, views: CoreViews, nowMs: number) => Shown;

type Waiting = { readonly settle: (answer: Answer, views: CoreViews, nowMs: number) => void };

/** Callers that wait for an answer of the core: each gets exactly one, at its deadline `unavailable`. */
export class OpenTickets {
  readonly #clock: Clock;
  readonly #waiting = new Map<Ticket, Waiting>();
  #next: Ticket = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** `views` is read only where the deadline passes: the core may have been replaced meanwhile. */
  open<Shown>(
    deadlineMs: number,
    render: Render<Shown>,
    views: () => { readonly views: CoreViews; readonly nowMs: number },
  ): { readonly ticket: Ticket; readonly answered: Promise<Shown> } {
    const ticket = this.#next;
    this.#next += 1;
    let cancel: CancelTimer = () => {};
    const answered = new Promise<Shown>((resolve, reject) => {
      const settle: Waiting["settle"] = (answer, coreViews, nowMs) => {
        if (!this.#waiting.delete(ticket)) return;
        cancel();
        try {
          resolve(render(answer, coreViews, nowMs));
        } catch (error) {
          reject(error instanceof Error ? error : new InvariantError(String(error)));
        }
      };
      this.#waiting.set(ticket, { settle });
      cancel = this.#clock.setTimer(deadlineMs, () => {
        const now = views();
        settle(refused(lateRefusal(deadlineMs)), now.views, now.nowMs);
      });
    });
    return { ticket, answered };
  }

  /** An answer for a caller that is gone is dropped: it repeats its request under the same id (B1). */
  answer(ticket: Ticket, answer: Answer, views: CoreViews, nowMs: number): void {
    this.#waiting.get(ticket)?.settle(answer, views, nowMs);
  }

  /** Ends every waiting caller of `tickets`, or all of them. */
  refuse(tickets: Iterable<Ticket> | "all", why: Refusal, views: CoreViews, nowMs: number): void {
    for (const ticket of tickets === "all" ? [...this.#waiting.keys()] : tickets)
      this.answer(ticket, refused(why), views, nowMs);
  }
}

export function refused(why: Refusal): Answer {
  return { kind: "refused", refusal: why };
}

function lateRefusal(deadlineMs: number): Refusal {
  const message = `no answer within ${deadlineMs} ms; it may still be carried out: ask again under the same id`;
  return refusal("unavailable", "no-answer-in-time", message, { retryAfterMs: 1_000 });
}
