import type { Clock } from "@muster/base";

/** Site time: the wall clock at the start of the process, moved on by the monotonic clock. Never goes back. */
export type SiteClock = {
  nowMs(): number;
  /** A moment of site time as the monotonic clock has it, for timers. */
  untilMs(siteMs: number): number;
};

export function siteClock(clock: Clock): SiteClock {
  const offsetMs = clock.wallMs() - clock.nowMs();
  return {
    nowMs: () => Math.floor(clock.nowMs() + offsetMs),
    untilMs: (siteMs) => siteMs - offsetMs - clock.nowMs(),
  };
}
