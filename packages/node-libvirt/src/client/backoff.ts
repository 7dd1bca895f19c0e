/** How long to wait between attempts to reconnect. */
export interface ReconnectOptions {
  /** Wait before the first attempt, in milliseconds. Default 50. */
  readonly minDelayMs?: number;
  /** Longest wait, in milliseconds. Default 5 000. */
  readonly maxDelayMs?: number;
  /** A number from 0 to 1 that spreads the waits, so that many clients do not return at once. Default `Math.random`. */
  readonly random?: () => number;
}

/** The wait before attempt `attempt` (0 is the first): doubling from the least to the greatest, less up to half. */
export function reconnectDelayMs(attempt: number, options: ReconnectOptions): number {
  const { minDelayMs = 50, maxDelayMs = 5_000, random = Math.random } = options;
  const fullMs = Math.min(maxDelayMs, minDelayMs * 2 ** Math.min(attempt, 30));
  return fullMs * (1 - random() / 2);
}
