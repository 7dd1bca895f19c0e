import { VirtualClock } from "@muster/base";
import { Element, parse } from "ltx";
import { describe, expect, it } from "vitest";
import type { IqOutcome, SendOutcome } from "./bus.ts";
import { IqCaller, type IqCallerOptions } from "./iq-caller.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function makeCaller(options: Partial<IqCallerOptions> = {}) {
  const clock = new VirtualClock();
  const sent: Element[] = [];
  const caller = new IqCaller({
    clock,
    send: async (iq) => {
      sent.push(iq);
      return { kind: "sent" };
    },
    ownAddress: () => "ann@alpha.test/desk",
    emptyFromIsOwn: true,
    ...options,
  });
  const ask = (to: string) => {
    const box: { outcome?: IqOutcome } = {};
    const asked = { to, type: "get", payload: new Element("q", "urn:x"), timeoutMs: 1000 } as const;
    void caller.request(asked).then((outcome) => {
      box.outcome = outcome;
    });
    return { box, id: sent.at(-1)?.attrs.id ?? "" };
  };
  const answerFrom = (id: string, from: string | undefined): boolean =>
    caller.accept(new Element("iq", { type: "result", id, from }));
  return { caller, clock, sent, ask, answerFrom };
}

describe("IqCaller", () => {
  it("X2: asks under ids that nobody can guess", () => {
    const { sent, ask } = makeCaller();
    for (let count = 0; count < 1000; count++) ask("cm@alpha.test");
    const ids = sent.map((iq) => iq.attrs.id ?? "");
    expect(new Set(ids).size).toBe(1000);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it("X2: takes an answer from the address that was asked and from no other, whatever its id", async () => {
    const { ask, answerFrom } = makeCaller();
    const { box, id } = ask("cm@alpha.test");
    for (const from of ["evil@peer.test", "cm@alpha.test/desk", "alpha.test", "ann@alpha.test", "", undefined]) {
      expect(answerFrom(id, from), String(from)).toBe(false);
    }
    expect(answerFrom("another", "cm@alpha.test")).toBe(false);
    await settle();
    expect(box.outcome).toBeUndefined();
    expect(answerFrom(id, "CM@Alpha.test")).toBe(true);
    await settle();
    expect(box.outcome).toEqual({ kind: "result", from: "cm@alpha.test" });
    expect(answerFrom(id, "cm@alpha.test")).toBe(false);
  });

  it("X2: a full address is not answered by its bare one", () => {
    const { ask, answerFrom } = makeCaller();
    const { id } = ask("hm@alpha.test/host");
    expect(answerFrom(id, "hm@alpha.test")).toBe(false);
    expect(answerFrom(id, "hm@alpha.test/host")).toBe(true);
  });

  it("X2: an empty sender stands for a client's own account and server only (RFC 6120 section 8.1.2.1)", () => {
    for (const own of ["alpha.test", "ann@alpha.test", "ann@alpha.test/desk"]) {
      const { ask, answerFrom } = makeCaller();
      expect(answerFrom(ask(own).id, undefined), own).toBe(true);
    }
    const component = makeCaller({ ownAddress: () => "cloud.alpha.test", emptyFromIsOwn: false });
    expect(component.answerFrom(component.ask("cloud.alpha.test").id, undefined)).toBe(false);
  });

  it("hands on the payload, or the fault", async () => {
    const { caller, ask } = makeCaller();
    const [one, two] = [ask("b.test"), ask("b.test")];
    caller.accept(parse(`<iq type='result' id='${one.id}' from='b.test'><a xmlns='urn:x'>yes</a></iq>`));
    caller.accept(parse(`<iq type='error' id='${two.id}' from='b.test'><q xmlns='urn:x'/><error type='auth'/></iq>`));
    await settle();
    expect(one.box.outcome?.kind === "result" && one.box.outcome.payload?.getText()).toBe("yes");
    expect(two.box.outcome).toMatchObject({ kind: "error", fault: { type: "auth" } });
  });

  it("X3: ends at the deadline, and at disconnection, and forgets", async () => {
    const { caller, clock, ask, answerFrom } = makeCaller();
    const late = ask("b.test");
    clock.advance(999);
    await settle();
    expect(late.box.outcome).toBeUndefined();
    clock.advance(1);
    const cut = ask("b.test");
    caller.disconnected();
    await settle();
    expect(late.box.outcome).toEqual({ kind: "timeout" });
    expect(cut.box.outcome).toEqual({ kind: "disconnected" });
    expect([answerFrom(late.id, "b.test"), caller.pending, clock.nextDueMs()]).toEqual([false, 0, undefined]);
  });

  it("S2: refuses a call beyond the bound", async () => {
    const { ask } = makeCaller({ maxPending: 3 });
    const calls = [1, 2, 3, 4].map(() => ask("b.test"));
    await settle();
    expect(calls.map(({ box }) => box.outcome?.kind)).toEqual([undefined, undefined, undefined, "not-sent"]);
  });

  it("X1: a call that the link refuses ends at once with the reason", async () => {
    const refusal: SendOutcome = { kind: "offline", message: "offline" };
    const { caller, ask } = makeCaller({ send: async () => refusal });
    const { box } = ask("b.test");
    await settle();
    expect(box.outcome).toEqual({ kind: "not-sent", refusal });
    expect(caller.pending).toBe(0);
  });
});
