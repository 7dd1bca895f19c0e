import { createHmac } from "node:crypto";
import type { Clock } from "@muster/base";

/** How long a code may be used: this one period and the rest of the one before. */
const PERIOD_MS = 60_000;

/**
 * Codes that confirm one destructive act by one person, kept nowhere: derived from a secret of this process, the act and
 * the minute. They guard against slips of the hand, not against thieves.
 */
export class ConfirmCodes {
  readonly #clock: Clock;
  readonly #secret: Uint8Array;

  constructor(clock: Clock, secret: Uint8Array) {
    this.#clock = clock;
    this.#secret = secret;
  }

  codeFor(by: string, act: string): string {
    return this.#code(by, act, this.#period());
  }

  confirms(code: string, by: string, act: string): boolean {
    const period = this.#period();
    return code === this.#code(by, act, period) || code === this.#code(by, act, period - 1);
  }

  #period(): number {
    return Math.floor(this.#clock.nowMs() / PERIOD_MS);
  }

  #code(by: string, act: string, period: number): string {
    const digest = createHmac("sha256", this.#secret)
      .update(JSON.stringify([by, act, period]))
      .digest();
    return String(digest.readUInt32BE(0) % 10_000).padStart(4, "0");
  }
}
