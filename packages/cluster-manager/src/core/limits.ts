/** Bounds of the core that no admin needs to set (S2). Those that a site may set are in `SitePolicy`. */

/** Commands to one host that wait for its answer at once, by how many hosts share what a site has; the rest wait their turn. */
export const COMMANDS_PER_HOST_MAX = 16;
export const COMMANDS_PER_HOST_MIN = 2;
export const COMMANDS_AT_ONCE = 2_048;
/** Sendings of one command before the host is asked to void the attempt instead. */
export const COMMAND_TRIES_MAX = 5;
/** First and longest pause before a command, hello or inventory query is repeated. */
export const RETRY_BASE_MS = 500;
export const RETRY_MAX_MS = 15_000;
/** How long a host has for the answer to `hello` before it is said again: nothing is placed there until then (L4). */
export const HELLO_MS = 1_000;
/** How long a host that took an order has before it is told again: it may be at it still. */
export const ORDER_PATIENCE_MS = 30_000;
/** Starts of one VM that may fail, on whichever hosts, before it is refused. */
export const FAILURES_MAX = 3;
/** A VM that ran this long has proved itself: its failures and restarts count from nothing again. */
export const STABLE_MS = 600_000;
/** Attempts one VM may use up (H5 forbids using one twice). */
export const ATTEMPTS_MAX = 1_000;
/** How long a host that turned a VM down is left out for it. */
export const AVOID_MS = 30_000;
/** First and longest pause before peers are asked again for the same VM. */
export const WANT_BASE_MS = 2_000;
export const WANT_MAX_MS = 60_000;
/** VMs for which peers are being asked at once. */
export const WANTS_OPEN_MAX = 64;
/** Records of VMs and requests in memory, those that ended included. */
export const RECORDS_MAX = 250_000;
/** Ended records dropped in one tick. */
export const PRUNED_PER_TICK_MAX = 1_000;
/** How often everything is compared with everything although nothing was reported. */
export const SWEEP_MS = 1_000;
/** Heartbeat assumed of a host that has not told its own. */
export const HEARTBEAT_ASSUMED_MS = 5_000;
/** Former starts of a host manager that are remembered as former. */
export const PAST_BOOTS_MAX = 8;
/** Decisions whose tally is kept for `why`. */
export const DECISIONS_MAX = 2_000;

/** Pause before try number `tries` + 1: doubles up to its limit. Without chance, so that a run can be replayed. */
export function pauseMs(tries: number, baseMs: number = RETRY_BASE_MS, maxMs: number = RETRY_MAX_MS): number {
  return Math.min(maxMs, baseMs * 2 ** Math.min(tries, 20));
}
