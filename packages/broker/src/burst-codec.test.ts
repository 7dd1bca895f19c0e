import fc from "fast-check";
import type { Element } from "ltx";
import { parse } from "ltx";
import { describe, expect, it } from "vitest";
import { holdOf, SITE, want } from "./broker.fixture.ts";
import {
  decodeBurstAnswer,
  decodeBurstNotice,
  decodeBurstRequest,
  encodeBurstAnswer,
  encodeBurstNotice,
  encodeBurstRequest,
} from "./burst-codec.ts";
import { burstDigest } from "./burst-digest.ts";
import type { BurstAnswer, BurstRequest } from "./burst-message.ts";

const ID = want().vm;
const STATE = { id: ID, revision: 3, stage: "leased", remainingMs: 5, vm: "running", reason: 'a <b> & "c"' } as const;

const REQUESTS: readonly { readonly type: "get" | "set"; readonly request: BurstRequest }[] = [
  { type: "get", request: { kind: "offer-query", body: { term: 1 } } },
  { type: "set", request: { kind: "hold", body: holdOf() } },
  { type: "set", request: { kind: "lease", body: { id: ID, term: 1, leaseMs: 60_000 } } },
  {
    type: "set",
    request: { kind: "renew", body: { term: 1, leases: [{ id: ID, leaseMs: 60_000, wanted: "paused" }] } },
  },
  { type: "set", request: { kind: "release", body: { id: ID, term: 1, reason: "not wanted" } } },
  { type: "get", request: { kind: "pull", body: { since: 0, max: 50 } } },
];

const ANSWERS: readonly BurstAnswer[] = [
  {
    kind: "offer",
    body: { accepting: true, free: SITE, largest: SITE, leaseMsMax: 1, images: ["a"], revision: 0, agent: "m" },
  },
  { kind: "held", body: { id: ID, remainingMs: 0, leaseMsMax: 60_000 } },
  { kind: "leased", body: { state: STATE } },
  {
    kind: "renewed",
    body: {
      leases: [
        { id: ID, state: STATE },
        { id: ID, refusal: { kind: "conflict", reason: "exchange-over", message: "over" } },
      ],
    },
  },
  { kind: "released", body: { state: STATE } },
  { kind: "pulled", body: { states: [STATE], complete: false } },
];

describe("burst codec", () => {
  it.each(REQUESTS)("sends $request.kind by IQ $type and reads it back", ({ type, request }) => {
    const encoded = encodeBurstRequest(request);
    expect(encoded.type).toBe(type);
    expect(decodeBurstRequest(overTheWire(encoded.payload))).toEqual({ ok: true, value: request });
  });

  it.each(ANSWERS)("reads back the answer $kind", (answer) => {
    expect(decodeBurstAnswer(overTheWire(encodeBurstAnswer(answer)))).toEqual({ ok: true, value: answer });
  });

  it("reads back a notice", () => {
    const notice = { states: [STATE] };
    expect(decodeBurstNotice(overTheWire(encodeBurstNotice(notice)))).toEqual({ ok: true, value: notice });
  });

  it("S1: refuses what does not decode and names the field", () => {
    const { payload } = encodeBurstRequest({ kind: "hold", body: { ...holdOf(), holdMs: -1 } });
    expect(decodeBurstRequest(payload)).toMatchObject({
      ok: false,
      error: {
        kind: "bad-request",
        reason: "malformed-hold",
        field: "holdMs",
        message: expect.stringContaining("holdMs"),
      },
    });
  });

  it("S1: refuses an answer for a question, and a name that is none", () => {
    const element = encodeBurstAnswer({ kind: "held", body: { id: ID, remainingMs: 0, leaseMsMax: 60_000 } });
    expect(decodeBurstRequest(element)).toMatchObject({ ok: false, error: { reason: "unknown-message" } });
    expect(decodeBurstAnswer(parse("<held xmlns='urn:other'/>"))).toMatchObject({
      ok: false,
      error: { kind: "bad-request" },
    });
  });

  it("S1: never throws, whatever stands in the element", () => {
    const names = ["offer-query", "hold", "lease", "renew", "release", "pull", "offer", "held", "states", "x"];
    const garbage = fc.record({
      name: fc.constantFrom(...names),
      attributes: fc.dictionary(fc.constantFrom("id", "term", "digest", "hold-ms", "since", "max"), fc.string()),
      child: fc.constantFrom("spec", "lease", "state", "reason"),
      text: fc.string(),
    });
    fc.assert(
      fc.property(garbage, ({ name, attributes, child, text }) => {
        const element = parse(`<${name} xmlns='urn:muster:burst:1'/>`);
        Object.assign(element.attrs, attributes);
        element.c(child, attributes).t(text);
        for (const decoded of [decodeBurstRequest(element), decodeBurstAnswer(element), decodeBurstNotice(element)])
          if (!decoded.ok) expect(decoded.error.message.length).toBeLessThanOrEqual(500);
      }),
    );
  });
});

describe("burst digest", () => {
  it("B1: tells requests apart by all that is asked for, not by who leads or how long it is held", () => {
    const hold = holdOf();
    const digest = burstDigest(hold);
    expect(burstDigest({ ...hold, ...{ term: 9, holdMs: 1_000 } })).toBe(digest);
    const others = [
      { name: "other" },
      { owner: "bob" },
      { project: "red" },
      { leaseMs: 1_000 },
      { spec: { ...hold.spec, vcpus: 3 } },
      { vm: hold.id },
    ];
    for (const other of others) expect(burstDigest({ ...hold, ...other })).not.toBe(digest);
  });
});

function overTheWire(element: Element): Element {
  return parse(element.toString());
}
