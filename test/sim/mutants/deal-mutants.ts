/** Rules of books, peerings by record, lenders and operations, broken one at a time. */
import type { Ledger, Lender, Peering, PinnedPeer } from "@muster/broker";
import type { Core, CoreEvent, RecordChange } from "@muster/cluster-manager";
import type { HostState } from "@muster/host-manager";
import { DEALS_FROM_SEED } from "../swarm.ts";
import type { Mutant } from "./mutant.ts";

/** Runs with everything in it that these rules are about. */
const from = DEALS_FROM_SEED;
const LENT = { burstShare: 0.9, activeMs: 70_000, operations: 50 } as const;

/** The lender as it would be if it held its peerings otherwise. */
function holding(change: (peering: Peering) => Peering): (lender: Lender) => Lender {
  return (lender) => ({
    ...lender,
    step: (event, env) =>
      lender.step(event, {
        ...env,
        peering(domain) {
          const peering = env.peering(domain);
          return peering === undefined ? undefined : change(peering);
        },
      }),
  });
}

function withoutChanges(drop: (change: RecordChange, event: CoreEvent) => boolean): (core: Core) => Core {
  return (core) => ({
    ...core,
    step(event, env) {
      const { changes, effects } = core.step(event, env);
      return { changes: changes.filter((change) => !drop(change, event)), effects };
    },
  });
}

function loading(change: (...records: Parameters<Ledger["load"]>) => Parameters<Ledger["load"]>) {
  return (ledger: Ledger): Ledger => ({ ...ledger, load: (...records) => ledger.load(...change(...records)) });
}

export const DEAL_MUTANTS: readonly Mutant[] = [
  {
    name: "gives the number of an open receipt out again after a take-over",
    breaks: ["B6"],
    withinRuns: 20,
    from,
    like: LENT,
    ports: () => ({
      ledger: loading((records, meters) => [[...records].filter(({ state }) => state !== "open"), meters]),
    }),
  },
  {
    name: "counts a lease from its beginning again after a take-over",
    breaks: ["B6"],
    withinRuns: 20,
    from,
    like: LENT,
    ports: () => ({
      ledger: loading((records, meters) => [records, [...meters].map((meter) => ({ ...meter, receiptedMs: 0 }))]),
    }),
  },
  {
    name: "countersigns whatever a lender has measured",
    breaks: ["B6"],
    withinRuns: 30,
    from,
    like: { ...LENT, fastMeter: 0, leaseMs: 20_000 },
    ports: () => ({
      ledgerOptions: (options) => ({ ...options, timing: { ...options.timing, toleranceMs: 3_600_000 } }),
    }),
  },
  {
    name: "forgets to store what its meters have measured",
    breaks: ["B6"],
    withinRuns: 20,
    from,
    like: LENT,
    ports: () => ({ core: withoutChanges(({ kind, key }) => kind === "put" && key.startsWith("meter/lent/")) }),
  },
  {
    name: "says a verdict that it has not stored",
    breaks: ["L3", "B6"],
    withinRuns: 10,
    from,
    like: LENT,
    ports: () => ({ core: withoutChanges(({ key }) => key.startsWith("receipt/borrowed/")) }),
  },
  {
    name: "sends a receipt that it has not stored",
    breaks: ["L3", "B6"],
    withinRuns: 10,
    from,
    like: LENT,
    ports: () => ({
      core: withoutChanges(({ kind, key }) => kind === "put" && key.startsWith("receipt/lent/")),
    }),
  },
  {
    name: "lends to a peer that it has suspended",
    breaks: ["B5"],
    withinRuns: 60,
    from,
    like: { ...LENT, loss: 0.25, faults: ["site-cut-off"], faultEveryMs: 3_000 },
    ports: () => ({ lender: holding((peering) => ({ ...peering, state: "active" })) }),
  },
  {
    name: "lends more than a peer's quota",
    breaks: ["B5"],
    withinRuns: 30,
    from,
    like: LENT,
    ports: () => ({ lender: holding((peering) => ({ ...peering, lend: { ...peering.lend, quota: undefined } })) }),
  },
  {
    name: "grants without asking what an admin has to approve",
    breaks: ["B5"],
    withinRuns: 30,
    from,
    like: LENT,
    ports: () => ({
      lender: holding((peering) => ({ ...peering, lend: { ...peering.lend, approveAbove: undefined } })),
    }),
  },
  {
    name: "ends at once what it was to end with notice",
    breaks: ["B5"],
    withinRuns: 30,
    from,
    like: LENT,
    ports: () => ({
      lender: (lender) => ({
        ...lender,
        step: (event, env) => lender.step(event.kind === "revoke" ? { ...event, noticeMs: 0 } : event, env),
      }),
    }),
  },
  {
    name: "forgets the notice that it gave",
    breaks: ["B5", "B4"],
    withinRuns: 30,
    from,
    like: LENT,
    ports: () => ({
      lender: (lender) => ({
        ...lender,
        step: (event, env) => (event.kind === "tick" ? { changes: [], effects: [] } : lender.step(event, env)),
      }),
    }),
  },
  {
    name: "takes what a key signed that was rotated away long ago",
    breaks: ["B5"],
    withinRuns: 40,
    from,
    like: LENT,
    ports: () => ({ pinned: takingAllKeys() }),
  },
  {
    name: "carries an operation out again that has ended",
    breaks: ["H2"],
    withinRuns: 60,
    from,
    like: { loss: 0.25, duplicates: 0.2, operations: 70, activeMs: 70_000, burstShare: 0.1 },
    ports: () => ({
      hostStep: (step) => (state, events, env) => step(events.reduce(forgettingOperations, state), events, env),
    }),
  },
  {
    name: "says that an operation is done without its hypervisor",
    breaks: ["H2"],
    withinRuns: 10,
    from,
    like: { operations: 70, activeMs: 70_000, burstShare: 0.1 },
    ports: () => ({
      hostEffect(effect, tell) {
        if (effect.kind !== "operate") return effect;
        tell({ kind: "acted", vm: effect.vm, job: effect.job, outcome: { kind: "done" } });
        return undefined;
      },
    }),
  },
];

/** Every key that a peer ever had at a site counts there for good. */
function takingAllKeys(): (pinned: PinnedPeer, site: string) => PinnedPeer {
  const first = new Map<string, string>();
  return (pinned, site) => {
    const key = `${site} ${pinned.domain}`;
    const known = first.get(key) ?? pinned.publicKey;
    first.set(key, known);
    return known === pinned.publicKey ? pinned : { ...pinned, earlierKey: known };
  };
}

type HostEvents = Parameters<Parameters<NonNullable<ReturnType<Mutant["ports"]>["hostStep"]>>[0]>[1];

function forgettingOperations(state: HostState, event: HostEvents[number]): HostState {
  const command = event.kind === "command" && event.command.action === "operate" ? event.command : undefined;
  const record = command === undefined ? undefined : state.attempts.get(command.vm);
  if (command === undefined || record?.operation?.id !== command.id) return state;
  const { operation: _, ...rest } = record;
  const answers = new Map(state.answers);
  answers.delete(command.id);
  return { ...state, answers, attempts: new Map(state.attempts).set(record.vm, rest) };
}
