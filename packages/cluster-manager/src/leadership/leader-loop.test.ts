import { systemClock, systemRng, VirtualClock } from "@muster/base";
import { vmCreateSchema } from "@muster/protocol";
import { afterEach, describe, expect, it } from "vitest";
import type { Answer } from "../core/effect.ts";
import type { Actor, CoreEvent } from "../core/event.ts";
import { MemoryDisk, openMemoryStore } from "../store/memory-store.ts";
import type { Store } from "../store/store.ts";
import { LeaderLoop, type LeaderLoopOptions } from "./leader-loop.ts";
import { configOf, coreOf, SPEC, until } from "./test-bed.fixture.ts";

const ADMIN: Actor = { user: "admin", role: "admin", projects: ["*"] };

type Run = {
  readonly loop: LeaderLoop;
  readonly disk: MemoryDisk;
  readonly carried: string[];
  readonly deposed: number[];
  readonly troubles: string[];
  readonly crashes: unknown[];
};

const loops: LeaderLoop[] = [];
afterEach(async () => {
  for (const loop of loops.splice(0)) await loop.stop();
});

async function run(
  more: Partial<LeaderLoopOptions> & { disk?: MemoryDisk; wrap?: (store: Store) => Store } = {},
): Promise<Run> {
  const { disk = new MemoryDisk(), wrap = (store) => store, ...options } = more;
  const opened = await openMemoryStore({ disk });
  if (!opened.ok) throw new Error(opened.error.message);
  const parts = {
    disk,
    carried: [] as string[],
    deposed: [] as number[],
    troubles: [] as string[],
    crashes: [] as unknown[],
  };
  const config = configOf("alpha.test");
  const loop = new LeaderLoop({
    clock: systemClock,
    rng: systemRng,
    store: wrap(opened.value),
    makeCore: () => coreOf(config, opened.value.term),
    queueMax: 1_000,
    carry: (effect) => void parts.carried.push(effect.kind),
    firstEvents: () => [{ kind: "link", online: true }],
    onDeposed: (term) => void parts.deposed.push(term),
    onStoreTrouble: (message) => void parts.troubles.push(message),
    onCrash: (error) => void parts.crashes.push(error),
    ...options,
  });
  loops.push(loop);
  await loop.start();
  return { loop, ...parts };
}

const request =
  (id: string, name = id) =>
  (ticket: number): CoreEvent => ({
    kind: "request",
    ticket,
    actor: ADMIN,
    requestId: id,
    create: vmCreateSchema.parse({ name, spec: SPEC }),
  });
const asIs = (answer: Answer): Answer => answer;

describe("the leader's loop", () => {
  it("L3: nothing is answered or carried out before it is stored", async () => {
    const { loop, disk, carried } = await run();
    await until("the first tick is over", () => loop.queued === 0);
    const order: string[] = [];
    disk.faultOf = (changes) => {
      order.push(`stored ${changes.some(({ key }) => key === "request/r1")} with ${carried.length} effects out`);
      return undefined;
    };
    const before = carried.length;
    const answer = await loop.ask(request("r1"), 5_000, (given) => {
      order.push(`answered, stored: ${disk.records.has("request/r1")}`);
      return given;
    });
    expect(answer).toMatchObject({ kind: "request", requestId: "r1", replay: false });
    expect(order.slice(0, 2)).toEqual([`stored true with ${before} effects out`, "answered, stored: true"]);
  });

  it("commits what arrives together at once", async () => {
    const { loop, disk } = await run();
    const before = disk.commits;
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) => loop.ask(request(`r${index}`), 5_000, asIs)),
    );
    expect(answers.every(({ kind }) => kind === "request")).toBe(true);
    expect(disk.commits - before).toBeLessThan(20);
  });

  it("answers unavailable when the store fails, keeps nothing of it, and goes on once the store works", async () => {
    const { loop, disk, troubles } = await run();
    await loop.ask(request("kept"), 5_000, asIs);
    disk.faultOf = () => ({ kind: "failed", message: "no space left on device" });
    const refused = await loop.ask(request("lost"), 5_000, asIs);
    expect(refused).toMatchObject({ kind: "refused", refusal: { kind: "unavailable", reason: "store-failed" } });
    expect(JSON.stringify(refused)).toContain("no space left");
    expect(troubles.length).toBeGreaterThan(0);
    disk.faultOf = undefined;
    await until("the loop runs again", () => loop.state === "running");
    const ids = await loop.read((views) =>
      [views.request("kept"), views.request("lost")].map((found) => found !== undefined),
    );
    expect(ids).toEqual([true, false]);
    expect(await loop.ask(request("lost"), 5_000, asIs)).toMatchObject({ kind: "request", replay: false });
  });

  it("B1: a commit of unknown outcome is read again: the repeated request is the same one", async () => {
    const { loop, disk } = await run();
    disk.faultOf = (changes) =>
      changes.some(({ key }) => key === "request/r1")
        ? { kind: "unknown", written: true, message: "no answer" }
        : undefined;
    const refused = await loop.ask(request("r1"), 5_000, asIs);
    expect(refused).toMatchObject({ kind: "refused", refusal: { kind: "unavailable", reason: "store-in-doubt" } });
    disk.faultOf = undefined;
    await until("the loop runs again", () => loop.state === "running");
    expect(await loop.ask(request("r1"), 5_000, asIs)).toMatchObject({ kind: "request", replay: true });
  });

  it("loses no acknowledged request while commits fail now and then", async () => {
    const { loop, disk } = await run();
    let commits = 0;
    disk.faultOf = () => {
      commits += 1;
      return commits % 3 === 0 ? { kind: "failed", message: "input/output error" } : undefined;
    };
    const acknowledged: string[] = [];
    for (let index = 0; index < 40; index += 1) {
      const answer = await loop.ask(request(`r${index}`), 5_000, asIs);
      if (answer.kind === "request") acknowledged.push(answer.requestId);
      await until("the loop runs again", () => loop.state === "running");
    }
    disk.faultOf = undefined;
    expect(acknowledged.length).toBeGreaterThan(5);
    for (const id of acknowledged) expect(disk.records.has(`request/${id}`)).toBe(true);
  });

  it("L2: steps down at once when another manager took over, and answers who waits", async () => {
    const { loop, disk, deposed } = await run();
    await until("the first tick is over", () => loop.queued === 0);
    await openMemoryStore({ disk });
    const before = new Map(disk.records);
    const answer = await loop.ask(request("late"), 5_000, asIs);
    expect(answer).toMatchObject({ kind: "refused", refusal: { kind: "not-leader" } });
    expect(deposed).toEqual([2]);
    expect(disk.records).toEqual(before);
    expect(await loop.ask(request("later"), 5_000, asIs)).toMatchObject({
      kind: "refused",
      refusal: { kind: "not-leader" },
    });
    expect(loop.post({ kind: "tick" })).toBe(false);
  });

  it("S2: refuses at the bound before anything else, with resource-constraint", async () => {
    const gate = Promise.withResolvers<void>();
    const { loop, disk } = await run({ queueMax: 3, wrap: (store) => gated(store, gate.promise) });
    const first = Array.from({ length: 3 }, (_, index) => loop.ask(request(`r${index}`), 5_000, asIs));
    const refused = await loop.ask(request("r3"), 5_000, asIs);
    expect(refused).toMatchObject({
      kind: "refused",
      refusal: { kind: "resource-constraint", reason: "manager-busy" },
    });
    gate.resolve();
    expect((await Promise.all(first)).map(({ kind }) => kind)).toEqual(["request", "request", "request"]);
    expect(disk.records.has("request/r3")).toBe(false);
  });

  it("answers unavailable at the deadline of a caller, and drops the late answer", async () => {
    const clock = new VirtualClock();
    const gate = Promise.withResolvers<void>();
    const { loop, disk } = await run({ clock, wrap: (store) => gated(store, gate.promise) });
    const asked = loop.ask(request("slow"), 1_000, asIs);
    clock.advance(1_001);
    expect(await asked).toMatchObject({ kind: "refused", refusal: { reason: "no-answer-in-time" } });
    gate.resolve();
    await until("it is stored all the same", () => disk.records.has("request/slow"));
    expect(loop.waiting).toBe(0);
  });

  it("L3: shows nobody what is not stored yet", async () => {
    const gate = Promise.withResolvers<void>();
    const { loop, disk } = await run({ wrap: (store) => gated(store, gate.promise) });
    const asked = loop.ask(request("r1"), 5_000, asIs);
    await until("the core has stepped", () => loop.views.request("r1") !== undefined);
    const seen = loop.read((views) => ({
      shown: views.request("r1") !== undefined,
      stored: disk.records.has("request/r1"),
    }));
    gate.resolve();
    expect(await seen).toEqual({ shown: true, stored: true });
    await asked;
  });

  it("shows nobody a working set that is thrown away, and stops at once while the store stays broken", async () => {
    const { loop, disk } = await run();
    disk.faultOf = () => ({ kind: "failed", message: "input/output error" });
    for (const id of ["r1", "r2", "r3", "r4"]) {
      await until("the loop runs", () => loop.state === "running");
      await loop.ask(request(id), 5_000, asIs);
    }
    expect(loop.state).toBe("recovering");
    await expect(loop.read((views) => views.vms())).rejects.toMatchObject({ refusal: { reason: "store-unavailable" } });
    await loop.stop();
    await expect(loop.read((views) => views.vms())).rejects.toMatchObject({ refusal: { kind: "not-leader" } });
  });

  it("L2: a leader that was deposed and has not noticed refuses nothing: its successor may take it", async () => {
    const { loop, disk, deposed } = await run();
    const viewer: Actor = { user: "eve", role: "viewer", projects: [] };
    const wish = (ticket: number): CoreEvent => ({ ...request("r1")(ticket), actor: viewer }) as CoreEvent;
    expect(await loop.ask(wish, 5_000, asIs)).toMatchObject({ refusal: { kind: "forbidden" } });
    const successor = await openMemoryStore({ disk });
    if (!successor.ok) throw new Error(successor.error.message);
    expect(await loop.ask(wish, 5_000, asIs)).toMatchObject({ refusal: { kind: "not-leader" } });
    expect(deposed).toEqual([successor.value.term]);
  });

  it("L2: what was done before is not said to be done again by a leader that was deposed", async () => {
    const { loop, disk, deposed } = await run();
    await loop.ask(request("r1"), 5_000, asIs);
    expect(await loop.ask(request("r1"), 5_000, asIs)).toMatchObject({ kind: "request", replay: true });
    await openMemoryStore({ disk });
    expect(await loop.ask(request("r1"), 5_000, asIs)).toMatchObject({ refusal: { kind: "not-leader" } });
    expect(deposed).toHaveLength(1);
  });

  it("L3: shows nobody an empty site while the store has not been read yet", async () => {
    const disk = new MemoryDisk();
    const first = await run({ disk });
    await first.loop.ask(request("r1"), 5_000, asIs);
    await first.loop.stop();
    const gate = Promise.withResolvers<void>();
    const starting = run({ disk, wrap: (store) => slowToRead(store, gate.promise) });
    await until("the second loop reads the store", () => loops.length === 2);
    const early = loops[1]?.read((views) => views.vms().length);
    await expect(early).rejects.toMatchObject({ refusal: { kind: "unavailable" } });
    gate.resolve();
    const { loop } = await starting;
    expect(await loop.read((views) => views.vms().length)).toBe(1);
  });

  it("keeps records of the shell beside those of the core, and never shows them to it", async () => {
    const disk = new MemoryDisk();
    const first = await run({ disk });
    expect(await first.loop.keep([{ kind: "put", key: "watch/site/ann", value: { any: "thing" } }])).toEqual({
      kind: "committed",
    });
    await first.loop.stop();
    const second = await run({ disk });
    expect(await second.loop.ask(request("r1"), 5_000, asIs)).toMatchObject({ kind: "request" });
    expect(second.crashes).toEqual([]);
  });

  it("gives way between slices of long work: what happens meanwhile does not wait for all of it", async () => {
    let nowMs = 0;
    const order: string[] = [];
    const carry = (effect: { readonly kind: string }): void => {
      if (order.length === 0) setImmediate(() => order.push("a beat is answered"));
      order.push(effect.kind);
      nowMs += 7;
    };
    const { loop } = await run({ clock: { ...systemClock, nowMs: () => nowMs }, carry });
    await until("the start is over", () => loop.queued === 0 && order.length > 1);
    await loop.read(() => order.splice(0));
    const create = vmCreateSchema.parse({ name: "many", count: 20, spec: SPEC });
    await loop.ask((ticket) => ({ ...request("many")(ticket), create }) as CoreEvent, 5_000, asIs);
    await loop.read(() => {});
    const at = order.indexOf("a beat is answered");
    expect(order.length).toBeGreaterThan(40);
    expect(at).toBeGreaterThan(0);
    expect(at).toBeLessThan(10);
  });

  it("gives way while it takes in a large store: who asks for a sign of life then gets one", async () => {
    const disk = new MemoryDisk();
    const first = await run({ disk });
    const create = vmCreateSchema.parse({ name: "many", count: 20, spec: SPEC });
    await first.loop.ask((ticket) => ({ ...request("many")(ticket), create }) as CoreEvent, 5_000, asIs);
    await first.loop.stop();
    let nowMs = 0;
    const order: string[] = [];
    const makeCore = () => {
      const core = coreOf(configOf("alpha.test"), 2);
      const loading = (): ReturnType<typeof core.loading> => {
        const { take, end } = core.loading();
        return {
          take(key, value) {
            if (order.length === 0) setImmediate(() => order.push("a beat is answered"));
            order.push(key);
            nowMs += 7;
            take(key, value);
          },
          end,
        };
      };
      return { ...core, loading };
    };
    const { loop } = await run({ disk, makeCore, clock: { ...systemClock, nowMs: () => nowMs } });
    expect(order.length).toBeGreaterThan(20);
    expect(order.indexOf("a beat is answered")).toBeGreaterThan(0);
    expect(order.indexOf("a beat is answered")).toBeLessThan(10);
    expect(await loop.read((views) => views.vms().length)).toBe(20);
  });

  it("B4: ticks although events come faster than the gap between two ticks, for as long as they do", async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    const { loop } = await run({
      clock,
      makeCore: () => {
        const core = coreOf(configOf("alpha.test"), 1);
        const step: typeof core.step = (event, env) => {
          seen.push(event.kind);
          return core.step(event, env);
        };
        return { ...core, step };
      },
    });
    for (let passed = 0; passed < 4_000; passed += 2) {
      loop.post({ kind: "link", online: true });
      await new Promise(setImmediate);
      clock.advance(2);
    }
    expect(seen.filter((kind) => kind === "tick").length).toBeGreaterThan(2);
  });

  it("ends for good on a bug, and tells who waits", async () => {
    const { loop, crashes } = await run();
    const nonsense: unknown = { kind: "nonsense" };
    const asked = loop.ask(() => nonsense as CoreEvent, 5_000, asIs);
    expect(await asked).toMatchObject({ kind: "refused", refusal: { kind: "internal", reason: "manager-fault" } });
    expect(crashes).toHaveLength(1);
    expect(loop.state).toBe("over");
  });
});

/** A store that gives its records only once the gate opens. */
function slowToRead(store: Store, gate: Promise<void>): Store {
  return {
    ...gated(store, Promise.resolve()),
    async *scan(prefix) {
      await gate;
      yield* store.scan(prefix);
    },
  };
}

function gated(store: Store, gate: Promise<void>): Store {
  return {
    term: store.term,
    scan: (prefix) => store.scan(prefix),
    snapshot: () => store.snapshot(),
    close: () => store.close(),
    commit: async (changes) => {
      await gate;
      return store.commit(changes);
    },
  };
}
