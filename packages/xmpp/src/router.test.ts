import { VirtualClock } from "@muster/base";
import fc from "fast-check";
import { Element, parse } from "ltx";
import { describe, expect, it } from "vitest";
import type { SendOutcome } from "./bus.ts";
import { IqRouter, type IqRouterOptions } from "./router.ts";
import { stanzaFault } from "./stanza-fault.ts";

const ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas";

function makeRouter(options: Partial<IqRouterOptions> = {}) {
  const clock = new VirtualClock();
  const sent: Element[] = [];
  const faults: string[] = [];
  const router = new IqRouter({
    clock,
    send: async (answer) => {
      sent.push(answer);
      return { kind: "sent" };
    },
    ownAddress: () => "ann@alpha.test",
    onFault: (where, error) => faults.push(`${where}: ${String(error)}`),
    ...options,
  });
  /** The condition of the only error sent, or the type where there is none. */
  const answer = (): string | undefined => {
    expect(sent).toHaveLength(1);
    const error = sent[0]?.getChild("error");
    return error === undefined ? sent[0]?.attrs.type : error.getChildElements()[0]?.getName();
  };
  return { router, clock, sent, faults, answer };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("IqRouter", () => {
  it("answers to the asker under its id, from the address that was asked", () => {
    const { router, sent } = makeRouter();
    router.handle("get", "urn:x", "q", () => ({ kind: "result", payload: new Element("a", "urn:x") }));
    router.accept(parse("<iq type='get' id='7' from='bob@b.test/x' to='vm-1@cloud.a.test'><q xmlns='urn:x'/></iq>"));
    expect(sent.map(String)).toEqual([
      `<iq type="result" id="7" to="bob@b.test/x" from="vm-1@cloud.a.test"><a xmlns="urn:x"/></iq>`,
    ]);
  });

  it("X4: answers bad-request to no child, two children, no type, another type and no id", () => {
    const xmls = [
      "<iq type='get' id='1' from='b'/>",
      "<iq type='get' id='1' from='b'>text</iq>",
      "<iq type='get' id='1' from='b'><q xmlns='urn:x'/><q xmlns='urn:x'/></iq>",
      "<iq id='1' from='b'><q xmlns='urn:x'/></iq>",
      "<iq type='order' id='1' from='b'><q xmlns='urn:x'/></iq>",
      "<iq type='get' from='b'><q xmlns='urn:x'/></iq>",
      "<iq type='get' id='' from='b'><q xmlns='urn:x'/></iq>",
    ];
    for (const xml of xmls) {
      const { router, answer } = makeRouter();
      router.handle("get", "urn:x", "q", () => ({ kind: "result" }));
      router.accept(parse(xml));
      expect(answer(), xml).toBe("bad-request");
    }
  });

  it("X4: answers service-unavailable to another type, namespace or name than is handled", () => {
    for (const xml of [
      "<iq type='set' id='1' from='b'><q xmlns='urn:x'/></iq>",
      "<iq type='get' id='1' from='b'><q xmlns='urn:y'/></iq>",
      "<iq type='get' id='1' from='b'><r xmlns='urn:x'/></iq>",
      "<iq type='get' id='1' from='b'><q/></iq>",
    ]) {
      const { router, answer } = makeRouter();
      router.handle("get", "urn:x", "q", () => ({ kind: "result" }));
      router.accept(parse(xml));
      expect(answer(), xml).toBe("service-unavailable");
    }
  });

  it("X4: answers for a handler that never does, once, and not again when it does after all", async () => {
    const { router, clock, answer, faults } = makeRouter({ answerWithinMs: 100 });
    let finish: () => void = () => {};
    router.handle("get", "urn:x", "q", () => new Promise((resolve) => (finish = () => resolve({ kind: "result" }))));
    router.accept(parse("<iq type='get' id='1' from='b'><q xmlns='urn:x'/></iq>"));
    clock.advance(100);
    expect(answer()).toBe("internal-server-error");
    finish();
    await settle();
    expect(answer()).toBe("internal-server-error");
    expect(faults).toHaveLength(1);
  });

  it("S2: answers resource-constraint beyond the bound of requests in flight, and takes more when some end", async () => {
    const { router, sent } = makeRouter({ maxInFlight: 2 });
    const finish: (() => void)[] = [];
    router.handle("get", "urn:x", "q", () => new Promise((resolve) => finish.push(() => resolve({ kind: "result" }))));
    const ask = (id: number): void => router.accept(parse(`<iq type='get' id='${id}'><q xmlns='urn:x'/></iq>`));
    for (const id of [1, 2, 3]) ask(id);
    expect(sent.map((it) => [it.attrs.id, it.attrs.type])).toEqual([["3", "error"]]);
    finish[0]?.();
    await settle();
    ask(4);
    expect(finish).toHaveLength(3);
  });

  it("X4: an answer that may not be sent is replaced by an error that may", async () => {
    const kinds = { "too-big": "resource-constraint", malformed: "internal-server-error" } as const;
    for (const [kind, condition] of Object.entries(kinds)) {
      const sent: Element[] = [];
      const { router } = makeRouter({
        send: async (answer): Promise<SendOutcome> => {
          if (answer.attrs.type === "result") return { kind: kind as keyof typeof kinds, message: "no" };
          sent.push(answer);
          return { kind: "sent" };
        },
      });
      router.handle("get", "urn:x", "q", () => ({ kind: "result" }));
      router.accept(parse("<iq type='get' id='1' from='b'><q xmlns='urn:x'/></iq>"));
      await settle();
      expect(sent.map((it) => it.getChild("error")?.getChild(condition, ERRORS)?.name)).toEqual([condition]);
    }
  });

  it("an empty sender is our own account", () => {
    const { router } = makeRouter();
    let from = "";
    router.handle("get", "urn:x", "q", (iq) => {
      from = iq.from;
      return { kind: "error", fault: stanzaFault("forbidden") };
    });
    router.accept(parse("<iq type='get' id='1'><q xmlns='urn:x'/></iq>"));
    expect(from).toBe("ann@alpha.test");
  });

  it("S1, X4: whatever comes gets exactly one answer", async () => {
    const word = fc.constantFrom("get", "set", "", "q", "x", "urn:x", "1");
    const arbitrary = fc.record({ type: word, id: word, names: fc.array(word, { maxLength: 3 }), ns: word });
    await fc.assert(
      fc.asyncProperty(arbitrary, async ({ type, id, names, ns }) => {
        const { router, sent } = makeRouter();
        router.handle("get", "urn:x", "q", async () => ({ kind: "result" }));
        const iq = new Element("iq", { type, id, from: "bob@b.test" });
        for (const name of names) iq.c(name || "q", { xmlns: ns });
        router.accept(iq);
        await settle();
        expect(sent).toHaveLength(1);
        expect(sent[0]?.attrs.to).toBe("bob@b.test");
      }),
    );
  });
});
