import { setTimeout as pause } from "node:timers/promises";

const LOOK_EVERY_MS = 100;

/** Waits until `holds`; throws when it does not in time. `what` names it in the failure. */
export async function until(
  what: string | (() => string),
  holds: () => boolean | Promise<boolean>,
  withinMs = 20_000,
): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadlineMs)
      throw new Error(`not within ${withinMs} ms: ${typeof what === "string" ? what : what()}`);
    await pause(LOOK_EVERY_MS);
  }
}
