import { seededRng } from "@muster/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type LinkEffect,
  type LinkEnv,
  type LinkEvent,
  type LinkState,
  SUPERVISOR_TIMES,
  superviseLink,
} from "./link-state.ts";

const TIMES = SUPERVISOR_TIMES;
const LOST: LinkEvent = { kind: "ended", end: { kind: "lost", reason: "reset" } };
const ONLINE: LinkEvent = { kind: "online", address: "a@b/c", resumed: false };

function envAt(nowMs: number, heardMs = nowMs): LinkEnv {
  return { nowMs, heardMs, times: TIMES, rng: seededRng(nowMs) };
}

function kindsOf(effects: readonly LinkEffect[]): string[] {
  return effects.map((effect) => (effect.kind === "status" ? `status ${effect.status.kind}` : effect.kind));
}

function delayOf(effects: readonly LinkEffect[]): number | undefined {
  return effects.find((effect) => effect.kind === "timer")?.delayMs;
}

describe("superviseLink", () => {
  it("X5: an attempt that hangs in whatever step is destroyed at its deadline and tried again", () => {
    const opening = superviseLink({ kind: "idle" }, { kind: "start" }, envAt(0));
    expect(kindsOf(opening.effects)).toEqual(["status connecting", "timer", "open"]);
    expect(delayOf(opening.effects)).toBe(TIMES.openWithinMs);
    const late = superviseLink(opening.state, { kind: "timer" }, envAt(TIMES.openWithinMs));
    expect(late.state).toEqual({ kind: "waiting", attempt: 1 });
    expect(kindsOf(late.effects)).toEqual(["destroy", "timer", "status offline"]);
    const again = superviseLink(late.state, { kind: "timer" }, envAt(6000));
    expect(again.state).toEqual({ kind: "opening", attempt: 1 });
  });

  it("X5: waits longer after each failure, never in step, never beyond the bound", () => {
    fc.assert(
      fc.property(fc.nat(60), fc.nat(), (attempt, seed) => {
        const env = { ...envAt(0), rng: seededRng(seed) };
        const delayMs = delayOf(superviseLink({ kind: "opening", attempt }, LOST, env).effects) ?? 0;
        const ceilingMs = Math.min(TIMES.backoffMaxMs, TIMES.backoffBaseMs * 2 ** attempt);
        expect(delayMs).toBeGreaterThanOrEqual(ceilingMs / 2);
        expect(delayMs).toBeLessThanOrEqual(ceilingMs);
      }),
    );
    const rng = seededRng(7);
    const delays = Array.from({ length: 20 }, () =>
      delayOf(superviseLink({ kind: "opening", attempt: 5 }, LOST, { ...envAt(0), rng }).effects),
    );
    expect(new Set(delays).size).toBe(20);
  });

  it("X5: a link that was steady is tried again soon, one that falls over early goes on backing off", () => {
    const up = superviseLink({ kind: "opening", attempt: 6 }, ONLINE, envAt(0)).state;
    const early = superviseLink(up, LOST, envAt(TIMES.steadyAfterMs - 1));
    expect(early.state).toEqual({ kind: "waiting", attempt: 7 });
    const steady = superviseLink(up, LOST, envAt(TIMES.steadyAfterMs));
    expect(steady.state).toEqual({ kind: "waiting", attempt: 0 });
    expect(delayOf(steady.effects)).toBeLessThanOrEqual(TIMES.backoffBaseMs);
  });

  it("X5: pings a silent link only, takes anything heard for an answer, and ends one that stays silent", () => {
    const up: LinkState = { kind: "online", attempt: 0, sinceMs: 0 };
    const busy = superviseLink(up, { kind: "timer" }, envAt(5000, 4000));
    expect(busy).toEqual({ state: up, effects: [{ kind: "timer", delayMs: 4000 }] });
    const silent = superviseLink(up, { kind: "timer" }, envAt(5000, 0));
    expect(kindsOf(silent.effects)).toEqual(["timer", "ping"]);
    const answered = superviseLink(silent.state, { kind: "timer" }, envAt(10_000, 5001));
    expect(answered.state).toEqual(up);
    const dead = superviseLink(silent.state, { kind: "timer" }, envAt(10_000, 4999));
    expect(kindsOf(dead.effects)).toEqual(["destroy", "timer", "status offline"]);
  });

  it("never retries by itself once the server refused us, until started again", () => {
    for (const reason of ["conflict", "not-authorized", "host-unknown"] as const) {
      const refused: LinkEvent = { kind: "ended", end: { kind: "refused", reason, text: "no" } };
      for (const state of [
        { kind: "opening", attempt: 3 },
        { kind: "online", attempt: 0, sinceMs: 0 },
        { kind: "pinging", attempt: 0, sinceMs: 0, pingedMs: 0 },
      ] as const) {
        const after = superviseLink(state, refused, envAt(1));
        expect(after.state).toEqual({ kind: "idle" });
        expect(after.effects.at(-1)).toEqual({ kind: "status", status: { kind: "refused", reason, text: "no" } });
        expect(kindsOf(after.effects)).not.toContain("timer");
        expect(superviseLink(after.state, { kind: "start" }, envAt(2)).state.kind).toBe("opening");
      }
    }
  });

  it("a start while the link is being closed opens another at once", () => {
    const step = superviseLink({ kind: "closing" }, { kind: "start" }, envAt(0));
    expect(step.state).toEqual({ kind: "opening", attempt: 0 });
    expect(kindsOf(step.effects)).toEqual(["destroy", "status connecting", "timer", "open"]);
  });

  it("S2: whatever happens in whatever order, at most one link is open and one timer set, and stop always ends", () => {
    const event: fc.Arbitrary<LinkEvent> = fc.oneof(
      fc.constantFrom<LinkEvent>({ kind: "start" }, { kind: "stop" }, { kind: "timer" }, ONLINE, LOST),
      fc.constant<LinkEvent>({ kind: "ended", end: { kind: "refused", reason: "conflict", text: "" } }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        let state: LinkState = { kind: "idle" };
        let [links, nowMs] = [0, 0];
        for (const next of [...events, { kind: "stop" }, { kind: "timer" }] as const) {
          nowMs += 1000;
          // A link that ended, or was never opened, tells nothing more.
          if ((next.kind === "ended" || next.kind === "online") && links === 0) continue;
          if (next.kind === "ended") links -= 1;
          const step = superviseLink(state, next, envAt(nowMs, nowMs - 900));
          state = step.state;
          for (const effect of step.effects) {
            if (effect.kind === "open") links += 1;
            if (effect.kind === "destroy") links -= 1;
          }
          expect(links).toBe(state.kind === "idle" || state.kind === "waiting" ? 0 : 1);
        }
        expect(state.kind).toBe("idle");
      }),
    );
  });
});
