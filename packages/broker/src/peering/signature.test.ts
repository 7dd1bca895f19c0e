import { Element, parse } from "ltx";
import { describe, expect, it } from "vitest";
import { holdOf, PEERING } from "../broker.fixture.ts";
import { encodeBurstAnswer, encodeBurstNotice, encodeBurstRequest } from "../burst-codec.ts";
import { generateSiteKey } from "./keys.ts";
import type { Peering } from "./peering.ts";
import { type SignedRoute, signBurst, verifyBurst } from "./signature.ts";

const KEY = generateSiteKey();
const OTHER = generateSiteKey();
const ROUTE: SignedRoute = { from: "alpha.test", to: "beta.test" };
const ALPHA: Peering = { ...PEERING, domain: "alpha.test", publicKey: KEY.publicKey };

describe("signature of a burst message", () => {
  it("B5: verifies what the pinned key signed, and leaves the message as it was", async () => {
    const signed = await signBurst(hold(), ROUTE, KEY);
    expect(signed.toString()).toContain("urn:muster:signature:1");
    const verified = await verifyBurst(parse(signed.toString()), ROUTE, ALPHA);
    expect(verified.ok && verified.value.toString()).toBe(hold().toString());
  });

  it("verifies after a server wrote the element in another way", async () => {
    const signed = parse((await signBurst(hold(), ROUTE, KEY)).toString());
    expect((await verifyBurst(rewritten(signed), ROUTE, ALPHA)).ok).toBe(true);
  });

  it("B5: refuses another key, an unpinned peering, another sender or receiver", async () => {
    const signed = async (key = KEY) => parse((await signBurst(hold(), ROUTE, key)).toString());
    expect(await verifyBurst(await signed(OTHER), ROUTE, ALPHA)).toMatchObject({ error: { reason: "bad-signature" } });
    expect(await verifyBurst(await signed(), ROUTE, { ...ALPHA, publicKey: OTHER.publicKey })).toMatchObject({
      ok: false,
    });
    expect(await verifyBurst(await signed(), { ...ROUTE, to: "gamma.test" }, ALPHA)).toMatchObject({ ok: false });
    expect(await verifyBurst(await signed(), { ...ROUTE, from: "gamma.test" }, ALPHA)).toMatchObject({
      error: { kind: "not-authorized", reason: "wrong-sender" },
    });
  });

  it("B5: refuses a message in which anything was changed", async () => {
    const changes: readonly ((element: Element) => void)[] = [
      (element) => {
        element.attrs["lease-ms"] = "61000";
      },
      (element) => {
        const spec = element.getChild("spec");
        if (spec !== undefined) spec.attrs.vcpus = "4";
      },
      (element) => {
        const signature = element.getChild("signature");
        // The first character: the last one carries bits that base64url leaves unused.
        const jws = signature?.getText().replace(/\.\../, (start) => (start === "..A" ? "..B" : "..A")) ?? "";
        signature?.children.splice(0, 1, jws);
      },
    ];
    for (const change of changes) {
      const signed = parse((await signBurst(hold(), ROUTE, KEY)).toString());
      change(signed);
      expect((await verifyBurst(signed, ROUTE, ALPHA)).ok).toBe(false);
    }
  });

  it.each([
    ["no signature", ""],
    ["garbage", "garbage"],
    ["a payload of its own", "e30.e30.e30"],
    ["no algorithm", `${base64({ alg: "none" })}..`],
    ["an algorithm of the sender's choice", `${base64({ alg: "HS256" })}..AAAA`],
  ])("B5: refuses %s", async (_, jws) => {
    const element = hold();
    element.c("signature", { xmlns: "urn:muster:signature:1" }).t(jws);
    expect(await verifyBurst(element, ROUTE, ALPHA)).toMatchObject({ ok: false, error: { kind: "not-authorized" } });
  });

  it("B5: refuses a key that is none", async () => {
    const signed = await signBurst(hold(), ROUTE, KEY);
    expect(await verifyBurst(signed, ROUTE, { ...ALPHA, publicKey: "nonsense" })).toMatchObject({ ok: false });
  });

  it("S1: names the field of a signed message that does not decode", async () => {
    const signed = await signBurst(hold(), ROUTE, KEY);
    delete signed.attrs.vm;
    expect(await verifyBurst(signed, ROUTE, ALPHA)).toMatchObject({ error: { kind: "bad-request", field: "vm" } });
  });

  it("binds an answer to its question", async () => {
    const answer = () =>
      encodeBurstAnswer({ kind: "held", body: { id: holdBody.id, remainingMs: 1, leaseMsMax: 1_000 } });
    const other = encodeBurstRequest({ kind: "hold", body: { ...holdBody, term: 2 } }).payload;
    const signed = async () => signBurst(answer(), { ...ROUTE, question: hold() }, KEY);
    expect((await verifyBurst(await signed(), { ...ROUTE, question: hold() }, ALPHA)).ok).toBe(true);
    expect((await verifyBurst(await signed(), { ...ROUTE, question: other }, ALPHA)).ok).toBe(false);
    expect((await verifyBurst(await signed(), ROUTE, ALPHA)).ok).toBe(false);
  });

  it("signs notices too, and nothing that is no burst message", async () => {
    const notice = encodeBurstNotice({ states: [{ id: holdBody.id, revision: 1, stage: "voided", remainingMs: 0 }] });
    expect((await verifyBurst(await signBurst(notice, ROUTE, KEY), ROUTE, ALPHA)).ok).toBe(true);
    await expect(signBurst(new Element("body"), ROUTE, KEY)).rejects.toThrow("cannot sign <body/>");
  });
});

const holdBody = holdOf();

function hold(): Element {
  return encodeBurstRequest({ kind: "hold", body: holdBody }).payload;
}

function base64(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** The same element with attributes the other way round, and white space between its children. */
function rewritten(element: Element): Element {
  const copy = new Element(element.getName(), Object.fromEntries(Object.entries(element.attrs).reverse()));
  for (const child of element.getChildElements()) {
    copy.t("\n  ");
    copy.cnode(child.children.some((node) => typeof node !== "string") ? rewritten(child) : child);
  }
  return parse(copy.toString().replaceAll('"', "'"));
}
