/** Rules of the cluster manager and its store, broken one at a time. */
import type { Core, CoreEffect, CoreEvent, CoreStep, VmRecord } from "@muster/cluster-manager";
import type { Mutant } from "./mutant.ts";

/** The core with every step changed by `change`. */
function stepping(change: (step: CoreStep, event: CoreEvent, core: Core) => CoreStep): (core: Core) => Core {
  return (core) => ({ ...core, step: (event, env) => change(core.step(event, env), event, core) });
}

function withEffects(step: CoreStep, change: (effect: CoreEffect) => CoreEffect): CoreStep {
  return { changes: step.changes, effects: step.effects.map(change) };
}

export const LEADER_MUTANTS: readonly Mutant[] = [
  {
    name: "answers before the commit",
    breaks: ["L3"],
    withinRuns: 2,
    ports: () => ({ answersBeforeCommit: true }),
  },
  {
    name: "acts in an old term: hears that it is deposed and goes on",
    breaks: ["L2"],
    withinRuns: 40,
    ports: () => ({ heedlessWhenDeposed: true }),
  },
  {
    name: "commits without the guard of its term",
    breaks: ["L2"],
    withinRuns: 40,
    ports: () => ({ unguardedStore: true }),
  },
  {
    name: "answers what changes nothing without asking the store whether it leads",
    breaks: ["L2"],
    withinRuns: 40,
    ports: () => ({ answersUnguarded: true }),
  },
  { name: "leads under its predecessor's term", breaks: ["L1"], withinRuns: 10, ports: () => ({ sameTerm: true }) },
  {
    name: "works on a stale copy of the store after a take-over",
    breaks: ["L3", "P3", "P1", "H5", "B1", "B2", "B3", "P2", "B7"],
    withinRuns: 40,
    ports: () => ({ staleRead: true }),
  },
  {
    name: "places without the hosts' lists",
    breaks: ["L4"],
    withinRuns: 5,
    ports: () => ({ emptyInventory: true }),
  },
  {
    name: "places anew on a time-out: takes a silent host for a dead one",
    breaks: ["P1"],
    withinRuns: 60,
    ports: () => ({ core: fencingOnSilence }),
  },
  {
    name: "uses an attempt again for another place",
    breaks: ["H5", "P3"],
    withinRuns: 40,
    ports: () => {
      const done = new Set<string>();
      return { core: stepping((step) => withEffects(step, (effect) => firstAttempt(effect, done))) };
    },
  },
  {
    name: "skips the dedup of requests",
    breaks: ["B1", "P3"],
    withinRuns: 10,
    ports: () => {
      let count = 0;
      return {
        coreEvent: (event) => {
          if (event.kind !== "request") return event;
          count += 1;
          return {
            ...event,
            requestId: `${event.requestId}-${count}`,
            create: { ...event.create, name: `copy-${count}` },
          };
        },
      };
    },
  },
  {
    name: "loses the records of requests on their way to the store",
    breaks: ["L3"],
    withinRuns: 2,
    ports: () => ({
      core: stepping(({ changes, effects }) => ({
        changes: changes.filter(({ key }) => !key.startsWith("request/")),
        effects,
      })),
    }),
  },
  {
    name: "acknowledges notices without storing how far it took them",
    breaks: ["L3"],
    withinRuns: 5,
    ports: () => ({
      core: stepping(({ changes, effects }, event) => ({
        changes: event.kind === "host-notices" ? changes.filter(({ key }) => !key.startsWith("host/")) : changes,
        effects,
      })),
    }),
  },
  {
    name: "forgets VMs as soon as they ended",
    breaks: ["P3", "L3"],
    withinRuns: 10,
    ports: () => ({
      core: stepping(({ changes, effects }) => ({
        changes: changes.map((change) => {
          const { phase } = (change.kind === "put" ? change.value : {}) as Partial<VmRecord>;
          const ended = change.key.startsWith("vm/") && (phase === "deleted" || phase === "cancelled");
          return ended ? { kind: "delete", key: change.key } : change;
        }),
        effects,
      })),
    }),
  },
];

/** Every host that it does not hear any more is declared dead, as if somebody had looked. */
function fencingOnSilence(core: Core): Core {
  return {
    ...core,
    step(event, env) {
      const first = core.step(event, env);
      if (event.kind !== "tick") return first;
      const steps = [first];
      for (const { name, liveness } of core.views.hosts(env.nowMs)) {
        if (liveness !== "lost") continue;
        const actor = { user: "nobody", role: "admin", projects: ["*"] } as const;
        steps.push(core.step({ kind: "host-fence", ticket: -1, actor, host: name }, env));
      }
      return { changes: steps.flatMap(({ changes }) => changes), effects: steps.flatMap(({ effects }) => effects) };
    },
  };
}

/** The first start of a later attempt goes out under the number of the first one; once a VM, or it would never end. */
function firstAttempt(effect: CoreEffect, done: Set<string>): CoreEffect {
  if (effect.kind !== "command" || effect.command.action !== "start" || effect.command.attempt === 1) return effect;
  const { vm } = effect.command;
  if (done.has(vm)) return effect;
  done.add(vm);
  return { ...effect, command: { ...effect.command, attempt: 1 } };
}
