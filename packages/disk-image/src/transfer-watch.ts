import type { CancelTimer, Clock } from "@muster/base";
import type { SourceFault } from "./source-fault.ts";

export type TransferLimits = {
  /** From the first word to the last byte, redirects included. */
  readonly wholeMs: number;
  /** Longest silence of the source. */
  readonly silenceMs: number;
};

/** Ends a transfer that is given up, takes too long as a whole, or says nothing for too long. */
export class TransferWatch {
  readonly signal: AbortSignal;
  readonly #abort = new AbortController();
  readonly #clock: Clock;
  readonly #limits: TransferLimits;
  readonly #givenUp: AbortSignal | undefined;
  readonly #cancelWhole: CancelTimer;
  #cancelSilence: CancelTimer | undefined;
  #fault: SourceFault | undefined;

  /** `givenUp`: the caller's word that nobody wants the image any more. */
  constructor(clock: Clock, limits: TransferLimits, givenUp?: AbortSignal) {
    this.#clock = clock;
    this.#limits = limits;
    this.#givenUp = givenUp;
    this.signal = givenUp === undefined ? this.#abort.signal : AbortSignal.any([givenUp, this.#abort.signal]);
    const { wholeMs } = limits;
    this.#cancelWhole = clock.setTimer(wholeMs, () => this.#end({ kind: "slow", wholeMs }));
  }

  /** From now on the source has to say something. */
  listen(): void {
    this.rest();
    const { silenceMs } = this.#limits;
    this.#cancelSilence = this.#clock.setTimer(silenceMs, () => this.#end({ kind: "silent", silenceMs }));
  }

  /** It has, or nothing is wanted of it for now. */
  rest(): void {
    this.#cancelSilence?.();
  }

  /** Why the transfer was ended, where it was ended here. */
  fault(): SourceFault | undefined {
    return this.#fault ?? (this.#givenUp?.aborted === true ? { kind: "given-up" } : undefined);
  }

  /** No timer is left. */
  stop(): void {
    this.#cancelWhole();
    this.rest();
  }

  #end(fault: SourceFault): void {
    this.#fault ??= fault;
    this.#abort.abort();
  }
}
