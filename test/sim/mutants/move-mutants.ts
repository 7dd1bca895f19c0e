/** Rules of live moves, broken one at a time. */
import type { Core, CoreEffect, CoreEvent, CoreStep, VmRecord } from "@muster/cluster-manager";
import type { HostEvent, HostState } from "@muster/host-manager";
import type { Move } from "@muster/protocol";
import type { HostStep } from "../ports.ts";
import { LATE_START_MS } from "./host-mutants.ts";
import type { Mutant } from "./mutant.ts";

const like = {
  moves: true,
  hosts: [
    [8, 8, 6],
    [8, 8],
  ],
  sites: 2,
  operations: 40,
} as const;

type MoveEffect = Extract<CoreEffect, { readonly kind: "move" }>;

/** The core with the effects of every step changed. */
function speaking(change: (effect: CoreEffect, core: Core, event: CoreEvent) => CoreEffect[]): (core: Core) => Core {
  return (core) => ({
    ...core,
    step: (event, env) => {
      const { changes, effects } = core.step(event, env);
      return { changes, effects: effects.flatMap((effect) => change(effect, core, event)) };
    },
  });
}

export const MOVE_MUTANTS: readonly Mutant[] = [
  {
    name: "resumes the source without the destination's word: takes its silence for a no",
    breaks: ["P1"],
    withinRuns: 60,
    like: { ...like, operations: 60, activeMs: 90_000, loss: 0.15, faults: ["host-cut-off"], faultEveryMs: 4_000 },
    ports: () => ({ coreEvent: silenceIsNo, core: notAskingToAbandon }),
  },
  {
    name: "has a guest run at the destination before that stage is stored",
    breaks: ["L3", "P1"],
    withinRuns: 5,
    like,
    ports: () => ({
      core: (core) => ({
        ...core,
        step: (event, env) => {
          const { changes, effects }: CoreStep = core.step(event, env);
          return { changes: changes.filter((change) => !isFinishing(change)), effects };
        },
      }),
    }),
  },
  {
    name: "has the source removed before the guest runs at the destination",
    breaks: ["P1", "L3"],
    withinRuns: 5,
    like,
    ports: () => ({
      core: speaking((effect, core) =>
        effect.kind === "move" && effect.move.step === "finish" ? [...confirmFirst(effect, core), effect] : [effect],
      ),
    }),
  },
  {
    name: "prepares an attempt that was voided",
    breaks: ["H5"],
    withinRuns: 40,
    like,
    ports: () => ({ repeatsStartsAfterMs: LATE_START_MS, hostStep: forgettingVoids }),
  },
  {
    name: "carries out orders about a VM that is being moved",
    breaks: ["P1"],
    withinRuns: 40,
    like,
    ports: () => ({
      hostStep: droppingMarks,
      core: speaking((effect, core, event) => [effect, ...ordersAnyway(effect, core, event)]),
    }),
  },
];

function silenceIsNo(event: CoreEvent): CoreEvent {
  if (event.kind !== "move-answered" || event.end.kind !== "unknown" || event.step !== "finish") return event;
  return { ...event, end: { kind: "state", state: { id: event.id, stage: "failed" } } };
}

/** Takes the answer of the destination for given as soon as it would have asked. */
function notAskingToAbandon(core: Core): Core {
  return {
    ...core,
    step: (event, env) => {
      const { changes, effects } = core.step(event, env);
      const asked = effects.find((effect) => effect.kind === "move" && effect.move.step === "abandon");
      const view = asked?.kind === "move" ? core.views.vm(asked.move.vm) : undefined;
      if (asked?.kind !== "move" || view === undefined || view === "ambiguous" || view.move?.stage !== "abandoning")
        return { changes, effects };
      const { vm, id, step } = asked.move;
      const end = { kind: "state", state: { id, stage: "abandoned" } } as const;
      const more = core.step({ kind: "move-answered", host: asked.host, vm, id, step, end }, env);
      return {
        changes: [...changes, ...more.changes],
        effects: [...effects.filter((effect) => effect !== asked), ...more.effects],
      };
    },
  };
}

function isFinishing(change: CoreStep["changes"][number]): boolean {
  return change.kind === "put" && (change.value as Partial<VmRecord>).move?.stage === "finishing";
}

function confirmFirst({ move }: MoveEffect, core: Core): CoreEffect[] {
  const view = core.views.vm(move.vm);
  if (view === undefined || view === "ambiguous" || view.move === undefined) return [];
  const { id, term, vm, waitMs } = move;
  const confirm: Move = { id, term, vm, waitMs, step: "confirm", attempt: view.attempt };
  return [{ kind: "move", host: view.move.from, move: confirm, timeoutMs: 3_000 }];
}

function forgettingVoids(step: HostStep): HostStep {
  return (state, events, env) => {
    const attempts = new Map(state.attempts);
    const answers = new Map(state.answers);
    for (const event of events) {
      const late = event.kind === "move" && event.move.step === "prepare" ? event.move : undefined;
      const known = late === undefined ? undefined : attempts.get(late.vm);
      if (late === undefined || (known !== undefined && !["void", "gone", "failed"].includes(known.state))) continue;
      attempts.delete(late.vm);
      answers.delete(late.id);
    }
    return step({ ...state, attempts, answers }, events, env);
  };
}

function droppingMarks(step: HostStep): HostStep {
  return (state, events, env) => step(events.reduce(withoutMark, state), events, env);
}

function withoutMark(state: HostState, event: HostEvent): HostState {
  const record = event.kind === "command" ? state.attempts.get(event.command.vm) : undefined;
  if (record?.move === undefined) return state;
  const { move: _, ...rest } = record;
  return { ...state, attempts: new Map(state.attempts).set(record.vm, rest) };
}

/** What a user wishes goes to the host at once, whatever the VM is in the middle of. */
function ordersAnyway(effect: CoreEffect, core: Core, event: CoreEvent): CoreEffect[] {
  if (event.kind !== "vm-action" || effect.kind !== "answer") return [];
  const view = core.views.vm(event.vm);
  if (view === undefined || view === "ambiguous" || view.move === undefined) return [];
  const { id: vm, attempt } = view;
  const command = { id: `${vm.slice(0, -4)}ffff`, term: core.policy.term, action: "suspend", vm, attempt } as const;
  return [{ kind: "command", host: view.move.from, command }];
}
