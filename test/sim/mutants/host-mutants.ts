/** Rules of the host manager, broken one at a time. */
import type { HostState } from "@muster/host-manager";
import type { HostStep } from "../ports.ts";
import type { Mutant } from "./mutant.ts";

/** The host's core with its state changed before every step. */
function knowing(
  change: (state: HostState, event: Parameters<HostStep>[1][number]) => HostState,
): (step: HostStep) => HostStep {
  return (step) => (state, events, env) => {
    let changed = state;
    for (const event of events) changed = change(changed, event);
    return step(changed, events, env);
  };
}

/** Late enough for an attempt to be over when its start comes again. */
export const LATE_START_MS = 6_000;

export const HOST_MUTANTS: readonly Mutant[] = [
  {
    name: "drops the fence: obeys a leader that was deposed",
    breaks: ["H1"],
    withinRuns: 60,
    ports: () => ({
      hostStep: knowing((state, event) => {
        const term =
          event.kind === "command" ? event.command.term : event.kind === "hello" ? event.hello.term : undefined;
        if (term === undefined || term >= state.head.term) return state;
        return { ...state, head: { ...state.head, term } };
      }),
    }),
  },
  {
    name: "forgets the journal at a start",
    breaks: ["H1", "H5", "H2"],
    withinRuns: 10,
    ports: () => ({ journalAtStart: "empty" }),
  },
  {
    name: "does not store the term",
    breaks: ["H1"],
    withinRuns: 5,
    ports: () => ({
      journal: (changes) =>
        changes.map((change) => (change.kind === "head" ? { ...change, head: { ...change.head, term: 0 } } : change)),
    }),
  },
  {
    name: "acts before it has stored the attempt",
    breaks: ["H1", "H5"],
    withinRuns: 10,
    ports: () => ({ hostActsFirst: true }),
  },
  {
    name: "ignores that an attempt was voided",
    breaks: ["H5", "H2"],
    withinRuns: 40,
    ports: () => ({
      repeatsStartsAfterMs: LATE_START_MS,
      hostStep: knowing((state, event) => {
        if (event.kind !== "command" || event.command.action !== "start") return state;
        const record = state.attempts.get(event.command.vm);
        if (record?.state !== "void" && record?.state !== "gone" && record?.state !== "failed") return state;
        const attempts = new Map(state.attempts);
        attempts.delete(event.command.vm);
        return { ...state, attempts, answers: new Map() };
      }),
    }),
  },
  {
    name: "skips the dedup of commands",
    breaks: ["H2"],
    withinRuns: 40,
    ports: () => ({
      hostStep: knowing((state) => (state.answers.size === 0 ? state : { ...state, answers: new Map() })),
    }),
  },
  {
    name: "gives out room that it has not",
    breaks: ["H4", "P2"],
    withinRuns: 5,
    ports: () => ({
      hostStep: knowing((state) => ({
        ...state,
        policy: { ...state.policy, total: { vcpus: 64, memoryMiB: 131_072, diskGiB: 999 } },
      })),
    }),
  },
  {
    name: "ends VMs that it was only to stop, pause or resume",
    breaks: ["H3"],
    withinRuns: 10,
    ports: () => ({
      hostEffect: (effect) => (effect.kind === "act" ? { ...effect, action: "delete" } : effect),
    }),
  },
  {
    name: "ignores the end of a lease",
    breaks: ["B4", "P1"],
    withinRuns: 20,
    like: { managersGone: true, activeMs: 110_000, burstShare: 0.9, leaseMs: 8_000 },
    ports: () => ({
      hostStep: knowing((state) => {
        const attempts = new Map(state.attempts);
        for (const [vm, { lease: _, ...record }] of attempts) attempts.set(vm, record);
        return { ...state, attempts };
      }),
    }),
  },
  {
    name: "ends a lent VM although its lease was renewed",
    breaks: ["H3"],
    withinRuns: 20,
    ports: () => ({
      hostStep: knowing((state, event) => {
        const renewed = event.kind === "command" && event.command.action === "renew" ? event.command.vm : undefined;
        const record = renewed === undefined ? undefined : state.attempts.get(renewed);
        if (record?.lease === undefined || record.subject?.lease === undefined) return state;
        const intent = { action: "stop", command: record.subject.lease } as const;
        const waiting = new Map(state.waiting).set(record.vm, true);
        return { ...state, waiting, attempts: new Map(state.attempts).set(record.vm, { ...record, intent }) };
      }),
    }),
  },
  {
    name: "takes a notice for acknowledged when it is sent",
    breaks: ["notices"],
    withinRuns: 40,
    ports: () => ({
      hostEffect: (effect, tell) => {
        if (effect.kind === "notify")
          tell({ kind: "notices-taken", batch: effect.batch, sequence: effect.notices.notices.at(-1)?.sequence ?? 0 });
        return effect;
      },
    }),
  },
];
