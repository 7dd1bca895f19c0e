import { assertNever, backoffMs, type Rng } from "@muster/base";
import type { BusStatus } from "./bus.ts";
import type { LinkEnd } from "./link.ts";

export type SupervisorTimes = {
  /** From the first packet to online: connecting, TLS, opening the stream and authentication together. */
  readonly openWithinMs: number;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  /** A link that lived this long was a good one: the next try comes soon. */
  readonly steadyAfterMs: number;
  /** Silence after which the server is pinged; 0 never pings. */
  readonly pingAfterMs: number;
  /** Silence after a ping that ends the link. */
  readonly pongWithinMs: number;
  /** For a polite end when stopping. */
  readonly closeWithinMs: number;
};

export const SUPERVISOR_TIMES: SupervisorTimes = {
  openWithinMs: 5_000,
  backoffBaseMs: 250,
  backoffMaxMs: 30_000,
  steadyAfterMs: 10_000,
  pingAfterMs: 5_000,
  pongWithinMs: 5_000,
  closeWithinMs: 2_000,
};

/**
 * ```
 *            start              online
 *  idle ───────────► opening ───────────► online ◄──► pinging
 *   ▲                 ▲   │ ended, late      │ ended     │ silent
 *   │ refused         └── waiting ◄──────────┴───────────┘
 *   │                 stop: online ──► closing ──► idle, others ──► idle
 * ```
 */
export type LinkState =
  | { readonly kind: "idle" }
  | { readonly kind: "opening"; readonly attempt: number }
  | { readonly kind: "waiting"; readonly attempt: number }
  | { readonly kind: "online"; readonly attempt: number; readonly sinceMs: number }
  | { readonly kind: "pinging"; readonly attempt: number; readonly sinceMs: number; readonly pingedMs: number }
  | { readonly kind: "closing" };

export type LinkEvent =
  | { readonly kind: "start" }
  | { readonly kind: "stop" }
  | { readonly kind: "timer" }
  | { readonly kind: "online"; readonly address: string; readonly resumed: boolean }
  | { readonly kind: "ended"; readonly end: LinkEnd };

export type LinkEffect =
  | { readonly kind: "open" }
  | { readonly kind: "close" }
  | { readonly kind: "destroy" }
  | { readonly kind: "ping" }
  /** There is one timer: setting it replaces the one before. */
  | { readonly kind: "timer"; readonly delayMs: number }
  | { readonly kind: "no-timer" }
  | { readonly kind: "status"; readonly status: BusStatus };

export type LinkEnv = {
  readonly nowMs: number;
  /** When something last arrived on the link. */
  readonly heardMs: number;
  readonly times: SupervisorTimes;
  readonly rng: Rng;
};

type Step = { readonly state: LinkState; readonly effects: readonly LinkEffect[] };

/** X5: decides when to open, ping, give up and try again. Pure: `LinkSupervisor` carries the effects out in order. */
export function superviseLink(state: LinkState, event: LinkEvent, env: LinkEnv): Step {
  switch (event.kind) {
    case "start":
      return start(state, env);
    case "stop":
      return stop(state, env);
    case "timer":
      return onTimer(state, env);
    case "online":
      return onOnline(state, event, env);
    case "ended":
      return onEnded(state, event.end, env);
    default:
      return assertNever(event);
  }
}

function start(state: LinkState, env: LinkEnv): Step {
  if (state.kind === "idle") return open(0, env);
  if (state.kind !== "closing") return { state, effects: [] };
  const next = open(0, env);
  return { state: next.state, effects: [{ kind: "destroy" }, ...next.effects] };
}

function open(attempt: number, env: LinkEnv): Step {
  return {
    state: { kind: "opening", attempt },
    effects: [
      { kind: "status", status: { kind: "connecting", attempt } },
      { kind: "timer", delayMs: env.times.openWithinMs },
      { kind: "open" },
    ],
  };
}

function stop(state: LinkState, env: LinkEnv): Step {
  const stopped: LinkEffect = { kind: "status", status: { kind: "stopped" } };
  switch (state.kind) {
    case "idle":
      return { state, effects: [stopped] };
    case "closing":
      return { state, effects: [] };
    case "waiting":
      return { state: { kind: "idle" }, effects: [{ kind: "no-timer" }, stopped] };
    case "opening":
      return { state: { kind: "idle" }, effects: [{ kind: "no-timer" }, { kind: "destroy" }, stopped] };
    case "online":
    case "pinging":
      return {
        state: { kind: "closing" },
        effects: [stopped, { kind: "timer", delayMs: env.times.closeWithinMs }, { kind: "close" }],
      };
    default:
      return assertNever(state);
  }
}

function onTimer(state: LinkState, env: LinkEnv): Step {
  switch (state.kind) {
    case "idle":
      return { state, effects: [] };
    case "waiting":
      return open(state.attempt, env);
    case "opening":
      return retry(state.attempt + 1, `not online within ${env.times.openWithinMs} ms`, env, [{ kind: "destroy" }]);
    case "online":
      return watch(state, env);
    case "pinging":
      if (env.heardMs >= state.pingedMs) {
        return watch({ kind: "online", attempt: state.attempt, sinceMs: state.sinceMs }, env);
      }
      return lose(state, `nothing heard for ${Math.round(env.nowMs - env.heardMs)} ms`, env, [{ kind: "destroy" }]);
    case "closing":
      return { state: { kind: "idle" }, effects: [{ kind: "destroy" }] };
    default:
      return assertNever(state);
  }
}

function onOnline(state: LinkState, event: Extract<LinkEvent, { kind: "online" }>, env: LinkEnv): Step {
  if (state.kind !== "opening") return { state, effects: [] };
  const status: BusStatus = { kind: "online", address: event.address, resumed: event.resumed };
  return {
    state: { kind: "online", attempt: state.attempt, sinceMs: env.nowMs },
    effects: [
      env.times.pingAfterMs > 0 ? { kind: "timer", delayMs: env.times.pingAfterMs } : { kind: "no-timer" },
      { kind: "status", status },
    ],
  };
}

function onEnded(state: LinkState, end: LinkEnd, env: LinkEnv): Step {
  switch (state.kind) {
    case "idle":
    case "waiting":
      return { state, effects: [] };
    case "closing":
      return { state: { kind: "idle" }, effects: [{ kind: "no-timer" }] };
    case "opening":
    case "online":
    case "pinging":
      if (end.kind === "refused") {
        const status: BusStatus = { kind: "refused", reason: end.reason, text: end.text };
        return { state: { kind: "idle" }, effects: [{ kind: "no-timer" }, { kind: "status", status }] };
      }
      return state.kind === "opening" ? retry(state.attempt + 1, end.reason, env) : lose(state, end.reason, env);
    default:
      return assertNever(state);
  }
}

type Up = Extract<LinkState, { kind: "online" | "pinging" }>;

/** Any stanza counts as an answer to a ping, so a busy link is never pinged. */
function watch(state: Up, env: LinkEnv): Step {
  const silentMs = env.nowMs - env.heardMs;
  if (silentMs < env.times.pingAfterMs) {
    return { state, effects: [{ kind: "timer", delayMs: env.times.pingAfterMs - silentMs }] };
  }
  return {
    state: { ...state, kind: "pinging", pingedMs: env.nowMs },
    effects: [{ kind: "timer", delayMs: env.times.pongWithinMs }, { kind: "ping" }],
  };
}

/** An established link is gone. One that kept falling over early goes on backing off. */
function lose(state: Up, reason: string, env: LinkEnv, before: readonly LinkEffect[] = []): Step {
  const steady = env.nowMs - state.sinceMs >= env.times.steadyAfterMs;
  return retry(steady ? 0 : state.attempt + 1, reason, env, before);
}

function retry(attempt: number, reason: string, env: LinkEnv, before: readonly LinkEffect[] = []): Step {
  const { backoffBaseMs: baseMs, backoffMaxMs: maxMs } = env.times;
  const delayMs = backoffMs({ attempt: Math.max(0, attempt - 1), baseMs, maxMs }, env.rng);
  return {
    state: { kind: "waiting", attempt },
    effects: [...before, { kind: "timer", delayMs }, { kind: "status", status: { kind: "offline", reason } }],
  };
}
