/** Rules of lender and borrower, broken one at a time. */
import type { Borrower, Lender, LenderEnv, LenderEvent, LenderStep } from "@muster/broker";
import type { Mutant } from "./mutant.ts";

function lending(step: (lender: Lender, event: LenderEvent, env: LenderEnv) => LenderStep): (lender: Lender) => Lender {
  return (lender) => ({ ...lender, step: (event, env) => step(lender, event, env) });
}

export const BURST_MUTANTS: readonly Mutant[] = [
  {
    name: "forgets the tombstone of a release that came first",
    breaks: ["L3", "B3"],
    withinRuns: 120,
    ports: () => ({
      lender: lending((lender, event, env) => {
        const step = lender.step(event, env);
        if (event.kind !== "request" || event.request.kind !== "release") return step;
        return {
          changes: step.changes.filter((change) => change.kind !== "put" || change.record.digest !== ""),
          effects: step.effects,
        };
      }),
    }),
  },
  {
    name: "renews and releases without asking whose lease it is",
    breaks: ["B5", "L3"],
    withinRuns: 10,
    like: { faults: ["rogue-peer"], faultEveryMs: 1_000, burstShare: 0.9 },
    ports: () => ({
      lender: lending((lender, event, env) => {
        if (event.kind !== "request") return lender.step(event, env);
        const owner = ownerOf(lender, event);
        return lender.step(owner === undefined ? event : { ...event, peer: owner }, env);
      }),
    }),
  },
  {
    name: "tells the borrower what it tells its own people",
    breaks: ["B5"],
    withinRuns: 20,
    ports: () => ({
      lender: lending((lender, event, env) =>
        lender.step(
          event.kind === "vm-changed" && event.phase === "in-doubt"
            ? { ...event, reason: "its host h1 is not heard" }
            : event,
          env,
        ),
      ),
    }),
  },
  {
    name: "promises the room of a hold a second time",
    breaks: ["P2"],
    withinRuns: 150,
    ports: () => ({ lender: (lender) => ({ ...lender, held: () => [] }) }),
  },
  {
    name: "ends leases and holds a minute late",
    breaks: ["B4", "P1"],
    withinRuns: 150,
    ports: () => ({
      lender: (lender) => ({
        ...lender,
        step: (event, env) =>
          lender.step(
            event,
            event.kind === "tick" ? { ...env, nowMs: env.nowMs - LATE_MS } : { ...env, graceMs: env.graceMs + LATE_MS },
          ),
      }),
    }),
  },
  {
    name: "takes silence for the end of an exchange",
    breaks: ["B2"],
    withinRuns: 40,
    ports: () => ({ borrower: takingSilenceForTheEnd }),
  },
  {
    name: "loses its exchanges at a take-over",
    breaks: ["B1", "B2", "B3", "B4", "B5", "B7", "P1", "P3", "L3"],
    withinRuns: 40,
    ports: () => ({ lender: (lender) => ({ ...lender, load: () => lender.load([]) }) }),
  },
  {
    name: "grants a hold that it refused before",
    breaks: ["B1", "B3", "P2"],
    withinRuns: 60,
    ports: () => ({
      lender: (lender) => ({
        ...lender,
        step: (event, env) => lender.step(event, event.kind === "request" ? { ...env, roomFor: () => undefined } : env),
      }),
    }),
  },
];

const LATE_MS = 60_000;

function ownerOf(lender: Lender, event: LenderEvent & { readonly kind: "request" }): string | undefined {
  const { request } = event;
  const id =
    request.kind === "renew" ? request.body.leases[0]?.id : request.kind === "release" ? request.body.id : undefined;
  for (const record of lender.records()) if (record.id === id) return record.peer;
  return undefined;
}

/** A release that nobody answered counts as confirmed. */
function takingSilenceForTheEnd(borrower: Borrower): Borrower {
  const releases = new Map<string, string>();
  return {
    ...borrower,
    step(event, env) {
      const id = event.kind === "answer" && event.outcome.kind === "unknown" ? releases.get(event.call) : undefined;
      const heard =
        id === undefined || event.kind !== "answer"
          ? event
          : ({
              ...event,
              outcome: { kind: "answered", answer: { kind: "released", body: { state: overState(id) } } },
            } as const);
      const step = borrower.step(heard, env);
      for (const effect of step.effects)
        if (effect.kind === "send" && effect.request.kind === "release")
          releases.set(effect.call, effect.request.body.id);
      return step;
    },
  };
}

function overState(id: string) {
  return { id, revision: 1_000_000, stage: "released", remainingMs: 0 } as const;
}
