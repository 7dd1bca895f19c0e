import type { CommandAction, HostOperation } from "@muster/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CoreWorld } from "../testing/core-world.ts";
import { command, commandId, vmId } from "../testing/fixture.ts";
import type { Answer } from "./event.ts";

type Act =
  | { readonly kind: "command"; readonly id: number; readonly wish: Wish }
  | { readonly kind: "repeat"; readonly which: number }
  | { readonly kind: "carry-out"; readonly which: number; readonly heard: boolean }
  | { readonly kind: "survey"; readonly late: boolean }
  | { readonly kind: "crash"; readonly ordersHappen: boolean }
  | { readonly kind: "power-cut" };
type Wish = {
  readonly action: CommandAction;
  readonly vm: number;
  readonly attempt: number;
  readonly term: number;
  readonly operation?: HostOperation;
};

const actions = ["start", "start", "void", "delete", "stop", "suspend", "resume", "reboot", "cut-off"] as const;
const operations: readonly HostOperation[] = [
  { kind: "save" },
  { kind: "create-snapshot", name: "a" },
  { kind: "resize", vcpus: 2 },
];
const order = fc.record({
  action: fc.constantFrom(...actions),
  vm: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.constant(2) }),
  attempt: fc.integer({ min: 1, max: 3 }),
  term: fc.oneof({ weight: 12, arbitrary: fc.constant(2) }, { weight: 1, arbitrary: fc.constantFrom(1, 3) }),
});
const wish: fc.Arbitrary<Wish> = fc.oneof(
  { weight: 8, arbitrary: order },
  {
    weight: 3,
    arbitrary: fc.record({ order, operation: fc.constantFrom(...operations) }).map(({ order: plain, operation }) => ({
      ...plain,
      action: "operate" as const,
      operation,
    })),
  },
);
/** Mostly true: what goes wrong each time keeps a history from getting anywhere. */
const mostly = fc.nat(5).map((number) => number > 0);
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("command" as const), id: fc.nat(200), wish }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("repeat" as const), which: fc.nat() }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("carry-out" as const), which: fc.nat(3), heard: mostly }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("survey" as const), late: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash" as const), ordersHappen: fc.boolean() }) },
);
const powerCut = fc.record({ kind: fc.constant("power-cut" as const) });
const LENGTHS = { minLength: 5, maxLength: 60, size: "max" } as const;
const history = fc.array(act, LENGTHS);
const darkHistory = fc.array(fc.oneof({ weight: 9, arbitrary: act }, { weight: 1, arbitrary: powerCut }), LENGTHS);

/** Goes through a history, telling what was sent and answered, and looks at the world after every act. */
function play(acts: readonly Act[], look: (world: CoreWorld, sent: readonly Sent[]) => void): CoreWorld {
  const world = CoreWorld.ready();
  const sent: Sent[] = [];
  const send = (id: number, what: Wish): void => {
    const [termBefore, diskBefore] = [world.state.head.term, JSON.stringify([...world.disk])];
    const answer = world.command(command(id, what.action, what));
    const changed = JSON.stringify([...world.disk]) !== diskBefore;
    sent.push({ id, wish: what, answer, termBefore, changed });
  };
  for (const one of acts) {
    if (one.kind === "command") send(one.id, one.wish);
    const again = one.kind === "repeat" ? sent[one.which % Math.max(1, sent.length)] : undefined;
    if (again !== undefined) send(again.id, again.wish);
    if (one.kind === "carry-out") world.carryOut(one.which % Math.max(1, world.pending.length), one.heard);
    if (one.kind === "survey") world.survey(one.late);
    if (one.kind === "crash") world.crash(one.ordersHappen);
    if (one.kind === "power-cut") {
      world.domains.clear();
      world.crash();
    }
    look(world, sent);
  }
  return world;
}
type Sent = {
  readonly id: number;
  readonly wish: Wish;
  readonly answer: Answer;
  readonly termBefore: number;
  readonly changed: boolean;
};

const RUNS = { numRuns: 500 };

describe("whatever arrives, in whatever order, and wherever the process ends", () => {
  it("H5: no attempt is started twice", () => {
    fc.assert(
      fc.property(history, (acts) => {
        play(acts, ({ beginnings }) => {
          for (const [attempt, count] of beginnings) expect(count, attempt).toBe(1);
        });
      }),
      RUNS,
    );
  });

  it("H5: an attempt that was answered void never starts, power cuts included", () => {
    fc.assert(
      fc.property(darkHistory, (acts) => {
        const begunBefore = new Map<string, number>();
        play(acts, ({ beginnings }, sent) => {
          for (const { wish: what, answer } of sent) {
            if (answer.kind !== "outcome" || answer.outcome.state !== "void") continue;
            const key = `${vmId(what.vm)}/${what.attempt}`;
            const begun = beginnings.get(key) ?? 0;
            if (!begunBefore.has(key)) begunBefore.set(key, begun);
            expect(begun, key).toBe(begunBefore.get(key));
          }
        });
      }),
      RUNS,
    );
  });

  it("H5: an attempt that was told failed or gone never starts again", () => {
    fc.assert(
      fc.property(darkHistory, (acts) => {
        const ended = new Map<string, number>();
        play(acts, ({ beginnings, told }) => {
          for (const { vm, attempt, state } of told) {
            const key = `${vm}/${attempt}`;
            if ((state === "failed" || state === "gone") && !ended.has(key)) ended.set(key, beginnings.get(key) ?? 0);
          }
          for (const [key, count] of ended) expect(beginnings.get(key) ?? 0, key).toBe(count);
        });
      }),
      RUNS,
    );
  });

  it("H1: the term obeyed never falls, and a command of a lower one changes nothing", () => {
    fc.assert(
      fc.property(history, (acts) => {
        let term = 0;
        play(acts, ({ state }, sent) => {
          expect(state.head.term).toBeGreaterThanOrEqual(term);
          term = state.head.term;
          for (const { wish: what, answer, termBefore, changed } of sent) {
            if (what.term >= termBefore) continue;
            expect(changed).toBe(false);
            expect(answer).toMatchObject({ kind: "refused", refusal: { kind: "stale-term" } });
          }
        });
      }),
      RUNS,
    );
  });

  it("H2: one command id has one answer", () => {
    fc.assert(
      fc.property(history, (acts) => {
        play(acts, (_, sent) => {
          const answers = new Map<string, string>();
          for (const { id, wish: what, answer } of sent) {
            if (answer.kind === "refused" && /stale-term|unavailable|conflict/.test(answer.refusal.kind)) continue;
            const key = `${id}/${JSON.stringify({ ...what, term: 0 })}`;
            const text = JSON.stringify(answer);
            expect(answers.get(key) ?? text).toBe(text);
            answers.set(key, text);
          }
        });
      }),
      RUNS,
    );
  });

  it("H2: an operation has one result, which every later report repeats until the next one's", () => {
    fc.assert(
      fc.property(darkHistory, (acts) => {
        play(acts, ({ told }, sent) => {
          const results = new Map<string, string>();
          for (const { operation } of told) {
            if (operation === undefined) continue;
            const text = JSON.stringify(operation);
            expect(results.get(operation.id) ?? text).toBe(text);
            results.set(operation.id, text);
            expect(sent.map(({ id }) => commandId(id))).toContain(operation.id);
          }
        });
      }),
      RUNS,
    );
  });

  it("H3: a domain ends only where its deletion was ordered, and foreign ones never", () => {
    fc.assert(
      fc.property(history, (acts) => {
        let before = new Set<string>();
        const world = play(acts, ({ domains }, sent) => {
          domains.set("foreign", domains.get("foreign") ?? { state: "running" });
          const deleted = new Set(
            sent.filter(({ wish: { action } }) => action === "delete").map(({ wish: { vm } }) => vmId(vm)),
          );
          for (const vm of before) if (!domains.has(vm)) expect(deleted).toContain(vm);
          before = new Set(domains.keys());
        });
        expect(acts.length === 0 || world.domains.get("foreign")?.state === "running").toBe(true);
      }),
      RUNS,
    );
  });

  it("comes to rest: list and hypervisor agree, and nothing is left to do", () => {
    fc.assert(
      fc.property(darkHistory, (acts) => {
        const world = play(acts, () => {});
        for (let round = 0; round < 5; round += 1) world.settle();
        for (const [vm, { state, plan }] of world.domains)
          expect(world.state.attempts.get(vm)).toMatchObject({ state, attempt: plan?.attempt });
        for (const record of world.state.attempts.values()) {
          expect(record.intent).toBeUndefined();
          expect(world.domains.has(record.vm)).toBe(["running", "paused", "stopped"].includes(record.state));
        }
        expect(world.state.jobs.size + world.state.waiting.size + world.state.notices.size).toBe(0);
      }),
      RUNS,
    );
  });
});
