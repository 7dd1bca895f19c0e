import { seededRng, VirtualClock } from "@muster/base";
import { Element } from "ltx";
import { describe, expect, it } from "vitest";
import type { Bus, IqOutcome } from "./bus.ts";
import { type MemoryNetworkOptions, memoryNetwork } from "./memory-bus.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function world(options: Partial<MemoryNetworkOptions> = {}, seed = 1) {
  const clock = new VirtualClock();
  const network = memoryNetwork({ clock, rng: seededRng(seed), ...options });
  const [ann, bob] = [network.client("ann@alpha.test/desk"), network.client("bob@beta.test/desk")];
  const [alpha, beta] = [network.component("cloud.alpha.test"), network.component("cloud.beta.test")];
  for (const bus of [ann, bob, alpha, beta]) bus.start();
  clock.advance(0);
  const pass = async (durationMs: number): Promise<void> => {
    for (let passedMs = 0; passedMs < durationMs; passedMs += 10) {
      await settle();
      clock.advance(10);
    }
    await settle();
  };
  const ask = async (bus: Bus, to: string): Promise<IqOutcome> => {
    const asked = bus.request({ to, type: "get", payload: new Element("q", "urn:x"), timeoutMs: 500 });
    await pass(600);
    return asked;
  };
  const heardBy = (bus: Bus): string[] => {
    const heard: string[] = [];
    bus.onMessage(({ type, id }) => heard.push(type === "" ? id : `${type} ${id}`));
    return heard;
  };
  const say = async (bus: Bus, to: string, count: number): Promise<void> => {
    for (let id = 0; id < count; id++) await bus.send(new Element("message", { to, id: String(id) }));
  };
  return { clock, network, ann, bob, alpha, beta, pass, ask, heardBy, say };
}

const condition = (outcome: IqOutcome): string => (outcome.kind === "error" ? outcome.fault.condition : outcome.kind);

describe("memoryNetwork", () => {
  it("repeats a run exactly from its seed, and differs with another", async () => {
    const faults = {
      lossRate: 0.2,
      duplicateRate: 0.2,
      reorderRate: 0.3,
      reorderWithinMs: 90,
      delayMinMs: 1,
      delayMaxMs: 50,
    };
    const run = async (seed: number): Promise<string> => {
      const { clock, alpha, beta, pass, say, network } = world({ faults }, seed);
      const trace: string[] = [];
      beta.onMessage(({ id }) => trace.push(`${clock.nowMs()} ${id}`));
      await say(alpha, "cloud.beta.test", 50);
      await pass(50);
      network.cut("cloud.alpha.test");
      await pass(2000);
      await say(alpha, "cloud.beta.test", 50);
      await pass(500);
      return trace.join("\n");
    };
    expect(await run(7)).toBe(await run(7));
    expect(await run(7)).not.toBe(await run(8));
  });

  it("without faults keeps order and delivers each once, however long delays differ", async () => {
    const { ann, alpha, pass, heardBy, say } = world({ faults: { delayMinMs: 1, delayMaxMs: 80 } });
    const heard = heardBy(alpha);
    await say(ann, "cloud.alpha.test", 200);
    await pass(200);
    expect(heard).toEqual(Array.from({ length: 200 }, (_, id) => String(id)));
  });

  it("loses, repeats and reorders at the rates asked for, settable while running", async () => {
    const { ann, alpha, network, pass, heardBy, say } = world();
    const heard = heardBy(alpha);
    const share = async (faults: Parameters<typeof network.setFaults>[0]): Promise<string[]> => {
      heard.length = 0;
      network.setFaults({ lossRate: 0, duplicateRate: 0, reorderRate: 0, ...faults });
      await say(ann, "cloud.alpha.test", 1000);
      await pass(200);
      return [...heard];
    };
    expect((await share({ lossRate: 0.3 })).length).toBeGreaterThan(600);
    expect((await share({ lossRate: 0.3 })).length).toBeLessThan(800);
    expect((await share({ lossRate: 1 })).length).toBe(0);
    const twice = await share({ duplicateRate: 0.5 });
    expect(twice.length).toBeGreaterThan(1400);
    expect(new Set(twice).size).toBe(1000);
    const mixed = await share({ reorderRate: 0.2, reorderWithinMs: 100 });
    expect(mixed).toHaveLength(1000);
    expect(mixed).not.toEqual([...mixed].sort((one, other) => Number(one) - Number(other)));
    expect(() => network.setFaults({ lossRate: 1.5 })).toThrow(/lossRate/);
  });

  it("a partition cuts the groups with all that is below them, both ways, until healed", async () => {
    const { network, alpha, beta, ann, ask } = world();
    beta.handle("get", "urn:x", "q", () => ({ kind: "result" }));
    alpha.handle("get", "urn:x", "q", () => ({ kind: "result" }));
    const heal = network.partition(["alpha.test"], ["beta.test"]);
    expect(await ask(alpha, "broker@cloud.beta.test")).toEqual({ kind: "timeout" });
    expect(await ask(beta, "cloud.alpha.test")).toEqual({ kind: "timeout" });
    expect(await ask(ann, "cloud.alpha.test")).toMatchObject({ kind: "result" });
    heal();
    expect(await ask(alpha, "broker@cloud.beta.test")).toMatchObject({ kind: "result" });
    network.partition(["cloud.alpha.test"], ["cloud.beta.test"], "bounce");
    expect(condition(await ask(alpha, "cloud.beta.test"))).toBe("remote-server-timeout");
  });

  it("bounces like a server: absent resource, absent component, unknown domain, session that ended on the way", async () => {
    const { network, ann, beta, alpha, ask, pass, heardBy, say } = world({
      faults: { delayMinMs: 20, delayMaxMs: 20 },
    });
    expect(condition(await ask(ann, "bob@beta.test/nowhere"))).toBe("service-unavailable");
    expect(condition(await ask(ann, "nobody@beta.test"))).toBe("service-unavailable");
    expect(condition(await ask(ann, "cloud.gamma.test"))).toBe("remote-server-not-found");
    await beta.stop();
    expect(condition(await ask(ann, "cloud.beta.test"))).toBe("remote-server-timeout");
    const asked = alpha.request({
      to: "bob@beta.test/desk",
      type: "get",
      payload: new Element("q", "urn:x"),
      timeoutMs: 500,
    });
    network.cut("bob@beta.test");
    await pass(600);
    expect(condition(await asked)).toBe("recipient-unavailable");
    const heard = heardBy(ann);
    await say(ann, "bob@beta.test/nowhere", 1);
    await ann.send(new Element("presence", { to: "bob@beta.test/nowhere" }));
    await ann.send(new Element("message", { to: "bob@beta.test/nowhere", type: "error", id: "e" }));
    await pass(100);
    expect(heard).toEqual(["error 0"]);
  });

  it("a message to a bare address reaches the resources that sent initial presence, and bounces without any", async () => {
    const { ann, bob, pass, heardBy, say } = world();
    const [atBob, atAnn] = [heardBy(bob), heardBy(ann)];
    await say(ann, "bob@beta.test", 1);
    await pass(20);
    expect([atBob, atAnn]).toEqual([[], ["error 0"]]);
    await bob.send(new Element("presence"));
    await say(ann, "bob@beta.test", 1);
    await pass(20);
    expect(atBob).toEqual(["0"]);
  });

  it("a second link of an address replaces the first, or is refused, as configured; the loser does not fight", async () => {
    for (const [componentConflict, winner] of [
      ["kick-old", "second"],
      ["kick-new", "first"],
    ] as const) {
      const { network, alpha: first, pass } = world({ componentConflict });
      const second = network.component("cloud.alpha.test");
      second.start();
      await pass(100_000);
      const [won, lost] = winner === "second" ? [second, first] : [first, second];
      expect(won.status.kind).toBe("online");
      expect(lost.status).toMatchObject({ kind: "refused", reason: "conflict" });
    }
  });

  it("a server that is down refuses and bounces, one that hangs swallows; both are got out of", async () => {
    const { network, alpha, beta, ask, pass } = world();
    beta.handle("get", "urn:x", "q", () => ({ kind: "result" }));
    network.setServer("beta.test", "down");
    expect(beta.status).toMatchObject({ kind: "offline" });
    expect(condition(await ask(alpha, "cloud.beta.test"))).toBe("remote-server-not-found");
    network.setServer("beta.test", "hung");
    await pass(12_000);
    expect(beta.status.kind).not.toBe("online");
    expect(await ask(alpha, "cloud.beta.test")).toEqual({ kind: "timeout" });
    network.setServer("beta.test", "up");
    await pass(40_000);
    expect(await ask(alpha, "cloud.beta.test")).toMatchObject({ kind: "result" });
  });

  it("a frozen link delivers what was buffered when it thaws", async () => {
    const { network, ann, alpha, pass, heardBy, say } = world();
    const heard = heardBy(alpha);
    network.freeze("cloud.alpha.test");
    await say(ann, "cloud.alpha.test", 3);
    await pass(100);
    expect(heard).toEqual([]);
    network.thaw("cloud.alpha.test");
    expect(heard).toEqual(["0", "1", "2"]);
  });

  it("X1: a link that takes nothing makes senders wait, then refuses them (S2)", async () => {
    const { network, pass } = world();
    const slow = network.client("slow@alpha.test/desk", { outbox: { maxBufferedBytes: 100, maxQueued: 2 } });
    slow.start();
    await pass(10);
    network.freeze("slow@alpha.test");
    const outcomes = Array.from({ length: 6 }, async (_, id) => {
      const outcome = await slow.send(new Element("message", { to: "cloud.alpha.test", id: `message-${id}` }));
      return outcome.kind;
    });
    await pass(10);
    network.thaw("slow@alpha.test");
    expect(await Promise.all(outcomes)).toEqual(["sent", "sent", "sent", "sent", "sent", "queue-full"]);
  });

  it("hands over copies: what a receiver does to a stanza, its sender and others do not see", async () => {
    const { ann, alpha, pass } = world();
    const sent = new Element("message", { to: "cloud.alpha.test", id: "1" });
    sent.c("body").t("one");
    alpha.onMessage(({ stanza }) => {
      stanza.remove("body");
    });
    await ann.send(sent);
    await pass(20);
    expect(sent.getChildText("body")).toBe("one");
  });

  it("S1: refuses addresses that are none for a link", () => {
    const { network } = world();
    for (const address of ["", "alpha.test", "ann@alpha.test", "@/x"]) expect(() => network.client(address)).toThrow();
    for (const domain of ["", "a@cloud.alpha.test", "cloud.alpha.test/x"])
      expect(() => network.component(domain)).toThrow();
  });
});
