/** Port of what switches a machine off and says that it is. */

/** `off`: the agent was asked afterwards, and said that the machine is. Everything else proves nothing (P1). */
export type FenceOutcome = { readonly kind: "off" } | { readonly kind: "failed"; readonly reason: string };

export type FenceAgent = {
  /** Never throws; ends when the signal does, at the latest. */
  powerOff(signal: AbortSignal): Promise<FenceOutcome>;
};

export type PowerState = { readonly kind: "on" | "off" } | { readonly kind: "unknown"; readonly reason: string };

const ASKED_EVERY_MS = 1_000;

/** Asks until the machine is off, or time is over. */
export async function untilOff(
  ask: () => Promise<PowerState>,
  pause: (durationMs: number) => Promise<void>,
  signal: AbortSignal,
): Promise<FenceOutcome> {
  let last: PowerState = { kind: "unknown", reason: "it was not asked" };
  while (!signal.aborted) {
    last = await ask();
    if (last.kind === "off") return { kind: "off" };
    if (!signal.aborted) await pause(ASKED_EVERY_MS);
  }
  const said = last.kind === "unknown" ? last.reason : "it says that the machine is still on";
  return { kind: "failed", reason: `not confirmed in time: ${said}` };
}
