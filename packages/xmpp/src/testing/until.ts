import { setTimeout as pause } from "node:timers/promises";

/** Waits for a condition in real time; throws when it does not come true before the deadline. For tests. */
export async function until(what: string, condition: () => boolean, deadlineMs = 10_000): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not in time: ${what}`);
    await pause(2);
  }
}
