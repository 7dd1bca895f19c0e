import type { UnderlayPeer } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { CoreWorld } from "../testing/core-world.ts";
import { command } from "../testing/fixture.ts";
import type { Effect } from "./event.ts";
import { step } from "./step.ts";

const ends = (...addresses: string[]): UnderlayPeer[] =>
  addresses.map((address, index) => ({ host: `h${index + 1}`, address, port: 4_789 }));

/** What the host manager is to go by after the event, where it is told anything anew. */
function learned(world: CoreWorld, term: number, generation: number, peers: UnderlayPeer[]): readonly Effect[] {
  const event = { kind: "underlay", ticket: 1, underlay: { term, generation, peers } } as const;
  const { state, changes, effects } = step(world.state, [event], { nowMs: world.nowMs });
  world.store(changes);
  world.state = state;
  return effects.filter(({ kind }) => kind === "learn-underlay" || kind === "answer");
}
const answered = (term: number, generation: number) => ({
  kind: "answer",
  ticket: 1,
  answer: { kind: "underlay-taken", taken: { term, generation } },
});

describe("where the tunnels of the other hosts end", () => {
  it("H1: is not believed of a deposed leader, and raises the term that is obeyed", () => {
    const world = CoreWorld.ready();
    expect(learned(world, 5, 1, ends("10.0.0.1"))).toEqual([
      { kind: "learn-underlay", peers: ends("10.0.0.1") },
      answered(5, 1),
    ]);
    expect(world.state.head.term).toBe(5);
    expect(learned(world, 4, 9, ends("10.6.6.6"))).toMatchObject([
      { kind: "answer", answer: { kind: "refused", refusal: { kind: "stale-term" } } },
    ]);
    expect(world.command(command(1, "start", { term: 4 }))).toMatchObject({ refusal: { kind: "stale-term" } });
  });

  it("goes by the newest list of a term, and by the first of a new one", () => {
    const world = CoreWorld.ready();
    learned(world, 2, 7, ends("10.0.0.1", "10.0.0.2"));
    expect(learned(world, 2, 6, ends("10.0.0.1"))).toEqual([answered(2, 7)]);
    expect(learned(world, 2, 7, ends("10.0.0.1", "10.0.0.2"))).toEqual([answered(2, 7)]);
    expect(learned(world, 3, 1, ends("10.0.0.3"))).toEqual([
      { kind: "learn-underlay", peers: ends("10.0.0.3") },
      answered(3, 1),
    ]);
  });

  it("comes with a hello, and again after a start of the host manager", () => {
    const world = CoreWorld.ready();
    const hello = { term: 2, manager: "cm-a", underlay: { generation: 1, peers: ends("10.0.0.1") } };
    const say = (): readonly Effect[] =>
      step(world.state, [{ kind: "hello", ticket: 1, hello }], { nowMs: world.nowMs }).effects;
    expect(say()).toContainEqual({ kind: "learn-underlay", peers: ends("10.0.0.1") });
    world.crash();
    expect(say()).toContainEqual({ kind: "learn-underlay", peers: ends("10.0.0.1") });
    const bare = { term: 2, manager: "cm-a" };
    const { effects } = step(world.state, [{ kind: "hello", ticket: 1, hello: bare }], { nowMs: world.nowMs });
    expect(effects.some(({ kind }) => kind === "learn-underlay")).toBe(false);
  });
});
