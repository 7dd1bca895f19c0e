import { Element } from "ltx";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Bus, BusStatus, IncomingStanza, IqOutcome } from "./bus.ts";
import type { BusOptions } from "./linked-bus.ts";
import { stanzaFault } from "./stanza-fault.ts";

/** A server, its network and the passing of time, as an adapter's tests provide them. */
export type BusWorld = {
  readonly domain: string;
  /** The component's domain. */
  readonly cloud: string;
  /** A Bus for the account `ann` or `bob`, with resource `desk`. Not started. Pings are quick, so that hangs are seen. */
  client(name: "ann" | "bob", options?: Partial<BusOptions>): Promise<Bus>;
  component(options?: Partial<BusOptions>): Promise<Bus>;
  /** The link is reset. */
  cut(bus: Bus): void;
  /** The link hangs: it stays, and nothing passes. */
  freeze(bus: Bus): void;
  /** Lets time pass until the condition holds; throws when it never does. */
  until(what: string, condition: () => boolean): Promise<void>;
  /** Stops every Bus made, ends the rest. */
  close(): Promise<void>;
};

const NS = "urn:muster:test:1";

/** What every Bus promises, whatever carries it. */
export function busContract(name: string, makeWorld: () => Promise<BusWorld>): void {
  describe(`Bus contract: ${name}`, () => {
    let world: BusWorld;
    beforeEach(async () => {
      world = await makeWorld();
    });
    afterEach(() => world.close());

    const settled = async <Value>(what: string, promise: Promise<Value>): Promise<Value> => {
      const box: { value?: Value } = {};
      void promise.then((value) => {
        box.value = value;
      });
      await world.until(what, () => "value" in box);
      return box.value as Value;
    };
    const online = async (...buses: Bus[]): Promise<void> => {
      for (const bus of buses) bus.start();
      await world.until("everyone online", () => buses.every((bus) => bus.status.kind === "online"));
    };
    const ask = (bus: Bus, to: string, payload = new Element("q", NS), timeoutMs = 5_000): Promise<IqOutcome> =>
      settled("the answer", bus.request({ to, type: "get", payload, timeoutMs }));
    const message = (to: string, text: string): Element => {
      const element = new Element("message", { to, type: "chat", id: text.slice(0, 40) });
      element.c("body").t(text);
      return element;
    };

    it("is offline until started, then connecting, then online under its own address", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      const seen: BusStatus[] = [];
      ann.onStatus((status) => seen.push(status));
      expect(ann.status.kind).toBe("offline");
      await online(ann, cloud);
      expect(seen.map((status) => status.kind)).toEqual(["connecting", "online"]);
      expect(ann.status).toMatchObject({ address: `ann@${world.domain}/desk`, resumed: false });
      expect(cloud.status).toMatchObject({ address: world.cloud });
    });

    it("X1: refuses to send while offline and after stop, and queues nothing meanwhile", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      const heard: IncomingStanza[] = [];
      cloud.onMessage((it) => heard.push(it));
      expect(await ann.send(message(world.cloud, "early"))).toMatchObject({ kind: "offline" });
      const early = await ann.request({ to: world.cloud, type: "get", payload: new Element("q", NS), timeoutMs: 50 });
      expect(early).toMatchObject({ kind: "not-sent", refusal: { kind: "offline" } });
      await online(ann, cloud);
      expect(await ann.send(message(world.cloud, "now"))).toEqual({ kind: "sent" });
      await world.until("the message", () => heard.length > 0);
      expect(heard.map((it) => it.stanza.getChildText("body"))).toEqual(["now"]);
      await settled("stop", ann.stop());
      expect(ann.status).toEqual({ kind: "stopped" });
      expect(await ann.send(message(world.cloud, "late"))).toMatchObject({ kind: "stopped" });
    });

    it("stamps messages and presences with the sender's address, and carries any text unchanged and in order", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      const [atCloud, atAnn]: [IncomingStanza[], IncomingStanza[]] = [[], []];
      cloud.onMessage((it) => atCloud.push(it));
      ann.onPresence((it) => atAnn.push(it));
      await online(ann, cloud);
      const texts = Array.from({ length: 100 }, (_, index) => `${index} Zürich 雪 𝄞 <&>"' \u00a0`);
      for (const text of texts) expect(await ann.send(message(`vm-1@${world.cloud}`, text))).toEqual({ kind: "sent" });
      await world.until("all messages", () => atCloud.length === texts.length);
      expect(atCloud.map((it) => it.stanza.getChildText("body"))).toEqual(texts);
      expect(atCloud[0]).toMatchObject({
        from: `ann@${world.domain}/desk`,
        to: `vm-1@${world.cloud}`,
        type: "chat",
      });
      const shown = new Element("presence", { to: `ann@${world.domain}/desk`, from: `vm-1@${world.cloud}/x` });
      await cloud.send(shown);
      await world.until("the presence", () => atAnn.length === 1);
      expect(atAnn[0]).toMatchObject({ from: `vm-1@${world.cloud}/x`, type: "" });
    });

    it("X1: refuses a forged sender, a broken address, a forbidden character and an oversize stanza, and lives on", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      await online(ann, cloud);
      const forged = new Element("message", { to: world.cloud, from: `bob@${world.domain}` });
      expect(await ann.send(forged)).toMatchObject({ kind: "malformed" });
      const elsewhere = new Element("message", { to: `ann@${world.domain}/desk`, from: "cloud.elsewhere.test" });
      expect(await cloud.send(elsewhere)).toMatchObject({ kind: "malformed" });
      expect(await ann.send(new Element("message", { to: "@" }))).toMatchObject({ kind: "malformed" });
      expect(await ann.send(message(world.cloud, "a\u0000b"))).toMatchObject({ kind: "malformed" });
      expect(await ann.send(message(world.cloud, "x".repeat(65_536)))).toMatchObject({ kind: "too-big" });
      expect(await ask(ann, world.cloud)).toMatchObject({ kind: "error" });
      expect([ann.status.kind, cloud.status.kind]).toEqual(["online", "online"]);
    });

    it("X2, X4: carries questions and answers both ways, by type, namespace and name", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      const echo = new Element("a", NS).t("Grüße");
      cloud.handle("get", NS, "q", (iq) => {
        expect(iq).toMatchObject({ from: `ann@${world.domain}/desk`, to: `broker@${world.cloud}`, type: "get" });
        return { kind: "result", payload: echo };
      });
      ann.handle("set", NS, "order", async (iq) => {
        await Promise.resolve();
        expect(iq.from).toBe(`broker@${world.cloud}`);
        return { kind: "result" };
      });
      await online(ann, cloud);
      const answer = await ask(ann, `broker@${world.cloud}`);
      expect(answer).toMatchObject({ kind: "result", from: `broker@${world.cloud}` });
      expect(answer.kind === "result" && answer.payload?.getText()).toBe("Grüße");
      const payload = new Element("order", NS);
      const to = `ann@${world.domain}/desk`;
      const ordered = cloud.request({ to, from: `broker@${world.cloud}`, type: "set", payload, timeoutMs: 5_000 });
      expect(await settled("the order", ordered)).toMatchObject({ kind: "result", from: to });
    });

    it("X4: answers what nobody handles, what a handler refuses and what a handler cannot do", async () => {
      const faults: string[] = [];
      const onFault = (where: string, error: unknown): void => {
        faults.push(`${where}: ${String(error)}`);
      };
      const [ann, cloud] = [await world.client("ann"), await world.component({ onFault })];
      const reason = new Element("refusal", { xmlns: "urn:muster:refusal:1", reason: "no-capacity" });
      cloud.handle("get", NS, "busy", () => ({
        kind: "error",
        fault: stanzaFault("resource-constraint", "All hosts are full.", reason),
      }));
      cloud.handle("get", NS, "broken", () => {
        throw new Error("password is hunter2");
      });
      cloud.handle("get", NS, "broken-later", () => Promise.reject(new Error("password is hunter2")));
      await online(ann, cloud);
      expect(await ask(ann, world.cloud, new Element("q", "urn:unknown"))).toMatchObject({
        kind: "error",
        fault: { condition: "service-unavailable" },
      });
      const busy = await ask(ann, world.cloud, new Element("busy", NS));
      expect(busy).toMatchObject({
        kind: "error",
        fault: { type: "wait", condition: "resource-constraint", text: "All hosts are full." },
      });
      expect(busy.kind === "error" && busy.fault.application?.attrs.reason).toBe("no-capacity");
      for (const name of ["broken", "broken-later"]) {
        const broken = await ask(ann, world.cloud, new Element(name, NS));
        expect(broken).toMatchObject({ kind: "error", fault: { condition: "internal-server-error" } });
        expect(broken.kind === "error" && broken.fault.text).toBeUndefined();
      }
      expect(faults).toHaveLength(2);
    });

    it("X4: one route has one handler, and a route taken back is free", async () => {
      const cloud = await world.component();
      const free = cloud.handle("get", NS, "q", () => ({ kind: "result" }));
      expect(() => cloud.handle("get", NS, "q", () => ({ kind: "result" }))).toThrow(/already/);
      cloud.handle("set", NS, "q", () => ({ kind: "result" }));
      free();
      cloud.handle("get", NS, "q", () => ({ kind: "result" }));
    });

    it("answers for addresses that are not there", async () => {
      const ann = await world.client("ann");
      await online(ann);
      expect(await ask(ann, `bob@${world.domain}/desk`)).toMatchObject({
        kind: "error",
        fault: { condition: "service-unavailable" },
      });
      expect(await ask(ann, "cloud.nowhere.test")).toMatchObject({ kind: "error" });
      expect(await ask(ann, world.cloud)).toMatchObject({ kind: "error", fault: { type: "wait" } });
    });

    it("X3: a call ends at its deadline", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      cloud.handle("get", NS, "slow", () => new Promise(() => {}));
      await online(ann, cloud);
      expect(await ask(ann, world.cloud, new Element("slow", NS), 100)).toEqual({ kind: "timeout" });
    });

    it("X3: every call ends as disconnected the moment the link is gone or stopped", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      let asked = 0;
      cloud.handle("get", NS, "slow", () => {
        asked += 1;
        return new Promise(() => {});
      });
      await online(ann, cloud);
      const slow = (): Promise<IqOutcome> =>
        ann.request({ to: world.cloud, type: "get", payload: new Element("slow", NS), timeoutMs: 60_000 });
      const cut = slow();
      await world.until("the question", () => asked === 1);
      world.cut(ann);
      expect(await settled("the cut call", cut)).toEqual({ kind: "disconnected" });
      await world.until("online again", () => ann.status.kind === "online");
      const stopped = slow();
      await world.until("the second question", () => asked === 2);
      const stop = ann.stop();
      expect(await settled("the stopped call", stopped)).toEqual({ kind: "disconnected" });
      await settled("stop", stop);
    });

    it("S2: refuses a call beyond the bound of pending ones", async () => {
      const [ann, cloud] = [await world.client("ann", { maxPendingCalls: 2 }), await world.component()];
      cloud.handle("get", NS, "slow", () => new Promise(() => {}));
      await online(ann, cloud);
      const slow = (): Promise<IqOutcome> =>
        ann.request({ to: world.cloud, type: "get", payload: new Element("slow", NS), timeoutMs: 60_000 });
      const pending = [slow(), slow()];
      expect(await slow()).toMatchObject({ kind: "not-sent", refusal: { kind: "queue-full" } });
      const stop = ann.stop();
      expect(await settled("the calls", Promise.all(pending))).toEqual([
        { kind: "disconnected" },
        { kind: "disconnected" },
      ]);
      await settled("stop", stop);
    });

    it("X5: a link that is reset is replaced, for a client and for a component", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      cloud.handle("get", NS, "q", () => ({ kind: "result" }));
      await online(ann, cloud);
      for (const bus of [ann, cloud]) {
        const seen: string[] = [];
        bus.onStatus((status) => seen.push(status.kind));
        world.cut(bus);
        await world.until("offline and online again", () => seen.at(-1) === "online");
        expect(seen[0]).toBe("offline");
        expect(await ask(ann, world.cloud)).toMatchObject({ kind: "result" });
      }
    });

    it("X5: a link that hangs half-open is noticed by our own clock and replaced", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      cloud.handle("get", NS, "q", () => ({ kind: "result" }));
      await online(ann, cloud);
      for (const bus of [ann, cloud]) {
        const seen: BusStatus[] = [];
        bus.onStatus((status) => seen.push(status));
        world.freeze(bus);
        await world.until("offline and online again", () => seen.at(-1)?.kind === "online");
        expect(seen[0]).toMatchObject({ kind: "offline", reason: expect.stringContaining("nothing heard") });
        expect(await ask(ann, world.cloud)).toMatchObject({ kind: "result" });
      }
    });

    it("a client that leaves is shown unavailable to whom it had shown itself", async () => {
      const [ann, cloud] = [await world.client("ann"), await world.component()];
      const heard: IncomingStanza[] = [];
      cloud.onPresence((it) => heard.push(it));
      await online(ann, cloud);
      await ann.send(new Element("presence", { to: world.cloud }));
      await world.until("the presence", () => heard.length === 1);
      await settled("stop", ann.stop());
      await world.until("unavailable", () => heard.length === 2);
      expect(heard.map((it) => [it.from, it.type])).toEqual([
        [`ann@${world.domain}/desk`, ""],
        [`ann@${world.domain}/desk`, "unavailable"],
      ]);
    });

    it("can be stopped twice, and started again", async () => {
      const ann = await world.client("ann");
      await online(ann);
      await settled("stop", Promise.all([ann.stop(), ann.stop()]));
      expect(ann.status).toEqual({ kind: "stopped" });
      await online(ann);
      expect(ann.status).toMatchObject({ kind: "online", address: `ann@${world.domain}/desk` });
      const stop = ann.stop();
      await online(ann);
      await settled("the stop before it", stop);
      expect(ann.status.kind).toBe("online");
    });

    it("two accounts reach each other, each under its own address", async () => {
      const [ann, bob] = [await world.client("ann"), await world.client("bob")];
      bob.handle("get", NS, "q", (iq) => ({ kind: "result", payload: new Element("a", { xmlns: NS, from: iq.from }) }));
      await online(ann, bob);
      const answer = await ask(ann, `bob@${world.domain}/desk`);
      expect(answer.kind === "result" && answer.payload?.attrs.from).toBe(`ann@${world.domain}/desk`);
    });

    it("a listener that throws harms neither the others nor the link", async () => {
      const faults: string[] = [];
      const [ann, cloud] = [
        await world.client("ann"),
        await world.component({ onFault: (where) => void faults.push(where) }),
      ];
      const heard: IncomingStanza[] = [];
      cloud.onMessage(() => {
        throw new Error("a bug of the owner's");
      });
      cloud.onMessage((it) => heard.push(it));
      await online(ann, cloud);
      await ann.send(message(world.cloud, "one"));
      await world.until("the message", () => heard.length === 1);
      expect(faults).toEqual(["listener"]);
      expect(cloud.status.kind).toBe("online");
    });
  });
}
