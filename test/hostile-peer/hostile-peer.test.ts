/**
 * A peer that has a valid peering, a valid certificate and its own key, and lies. Each of its ways has a consequence that its
 * victim's admin sees, and none of them costs anybody else anything.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { generateSiteKey } from "@muster/broker";
import {
  heldMessage,
  leaseMessage,
  NO_DIGEST,
  NO_PRICES,
  offerQueryMessage,
  type Receipt,
  releaseMessage,
  renewedMessage,
  renewMessage,
  verdictsMessage,
} from "@muster/protocol";
import { parse } from "ltx";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPeer } from "../../packages/xmpp-server/src/testing/raw-stream.ts";
import { tracesOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import { expectOk, HostileSite, LEASE_START_MS, LOOPBACK } from "./hostile-site.ts";
import { type Answered, encodeHold, hold, lender, type Partner, receiptSaid, SPEC } from "./partner.ts";

const TERM = 1_000;

let site: HostileSite;
let partner: Partner;

beforeAll(async () => {
  site = await HostileSite.begin();
  partner = site.partner;
  partner.manners = lender(() => "queued");
}, 120_000);

afterAll(async () => {
  await site.end();
  expect(tracesOf(site.run.state, [LOOPBACK, LOOPBACK + 1, LOOPBACK + 2])).toEqual([]);
}, 60_000);

const reasonOf = (answer: Answered): string | undefined =>
  answer.kind === "error" ? answer.refusal?.reason : undefined;
const offerQuery = () => offerQueryMessage.encode({ term: TERM });
const lease = (id: string, term = TERM) => leaseMessage.encode({ id, term, leaseMs: 60_000 });
const release = (id: string) => releaseMessage.encode({ id, term: TERM, reason: "done" });
const renew = (id: string) => renewMessage.encode({ term: TERM, leases: [{ id, leaseMs: 60_000, wanted: "running" }] });

/** Leases of the partner at alpha. */
async function lent(peer = "beta.test") {
  const leases = expectOk(await site.run.client().leases());
  return leases.filter((one) => one.role === "lender" && one.peer === peer);
}

/** A hold and its lease, as an honest peer takes them. */
async function leased(): Promise<string> {
  const wish = hold();
  expect(await partner.say(encodeHold(wish))).toMatchObject({ kind: "result" });
  expect(await partner.say(lease(wish.id))).toMatchObject({ kind: "result" });
  return wish.id;
}

describe("who speaks", () => {
  it("B5: a stanza in another site's name never gets past the partner's own server", async () => {
    const forged = await partner.signed(encodeHold(), { from: "gamma.test" });
    const before = await lent();
    const answer = await Promise.race([partner.ask(forged, "set", "cloud.gamma.test"), pause(1_500)]);
    expect(answer).not.toMatchObject({ kind: "result" });
    expect(await lent()).toEqual(before);
  });

  it("B5: nor past alpha's server where the partner's server forges it: the certificate says who may speak", async () => {
    const certificates = join(site.run.state, "beta", "certificates");
    const cert = readFileSync(join(certificates, "site.crt"));
    const key = readFileSync(join(certificates, "site.key"));
    const ca = readFileSync(join(site.run.state, "authority", "ca.crt"));
    const target = { address: `127.0.${LOOPBACK}.1`, port: 5269, ca };
    const stream = await openPeer(target, { from: "cloud.beta.test", to: "cloud.alpha.test" }, { cert, key });
    const forged = await partner.signed(encodeHold(), { from: "gamma.test" });
    stream.send(`<iq type='set' id='f' from='cloud.gamma.test' to='cloud.alpha.test'>${forged.toString()}</iq>`);
    const said = await stream.until(/<\/stream:stream>|<stream:error>|<iq\b[^>]*id=['"]f['"]/, 2_000).catch(String);
    stream.close();
    expect(String(said)).not.toMatch(/type=['"]result/);
    expect(await lent("gamma.test")).toEqual([]);
  });

  it("B5: a message without a signature, by another key, changed since, or signed for another site is refused and counted", async () => {
    const before = await site.counted("signature");
    const good = await partner.signed(encodeHold());
    const changed = parse(good.toString().replace(/vcpus=["']1["']/, 'vcpus="2"'));
    const cases = [
      [encodeHold(), "unsigned"],
      [await partner.signed(encodeHold(), { key: generateSiteKey() }), "bad-signature"],
      [changed, "bad-signature"],
      [await partner.signed(encodeHold(), { to: "gamma.test" }), "bad-signature"],
      [await partner.signed(encodeHold(), { from: "gamma.test" }), "bad-signature"],
    ] as const;
    for (const [payload, reason] of cases) {
      const answer = await partner.ask(payload);
      expect(answer).toMatchObject({ kind: "error", condition: "not-authorized" });
      expect(reasonOf(answer)).toBe(reason);
    }
    await until("all are counted", async () => (await site.counted("signature")) === before + cases.length);
    const shown = await site.at("alpha", "peer", "show", "beta.test");
    expect(shown.stdout).toMatch(/signature/);
    expect(shown.stdout).toMatch(/not by the key pinned for beta\.test/);
    expect(site.log()).toMatch(/a burst message was refused/);
    expect(await lent()).toEqual([]);
  });
});

describe("what is said again, too late, or of others", () => {
  it("B1: a replayed hold gets the answer of the first, and holds once", async () => {
    const wish = await partner.signed(encodeHold());
    const copies = [parse(wish.toString()), parse(wish.toString()), parse(wish.toString())];
    const answers = [];
    for (const copy of copies) answers.push(await partner.ask(copy));
    const ids = answers.map((answer) => answer.kind === "result" && answer.payload?.attrs.id);
    expect(new Set(ids).size).toBe(1);
    expect(await lent()).toHaveLength(1);
    const [id] = ids;
    await partner.say(release(String(id)));
    expect(await lent()).toEqual([]);
  });

  it("B1: another hold under the same id is a conflict, and a replayed lease revives nothing that was released", async () => {
    const wish = hold();
    await partner.say(encodeHold(wish));
    expect(reasonOf(await partner.say(encodeHold({ ...wish, name: "another" })))).toBe("id-taken");
    const signed = await partner.signed(lease(wish.id));
    expect(await partner.ask(parse(signed.toString()))).toMatchObject({ kind: "result" });
    await partner.say(release(wish.id));
    await until("it is gone", async () => (await lent()).length === 0);
    const again = await partner.ask(parse(signed.toString()));
    const stage = again.kind === "result" ? again.payload?.getChild("state")?.attrs.stage : "refused";
    expect(["releasing", "released", "refused"]).toContain(stage);
    expect(reasonOf(await partner.say(encodeHold(wish)))).toBe("exchange-over");
    expect(await lent()).toEqual([]);
  });

  it("L2: what a leader of a lower term once signed is stale", async () => {
    const answer = await partner.say(offerQueryMessage.encode({ term: 1 }), "get");
    expect(reasonOf(answer)).toBe("stale-term");
  });

  it("B5: a lease of another peer is unknown to it: it neither renews nor ends it", async () => {
    await site.burst("guest-of-gamma", "gamma");
    await until("gamma's VM runs at alpha", async () => (await site.vm("guest-of-gamma", "gamma")).phase === "running");
    const [theirs] = await lent("gamma.test");
    if (theirs === undefined) throw new Error("gamma has no lease");
    const renewed = await partner.say(renew(theirs.id));
    const decoded = renewed.kind === "result" && renewed.payload ? renewedMessage.decode(renewed.payload) : undefined;
    expect(decoded).toMatchObject({
      ok: true,
      value: { leases: [{ id: theirs.id, refusal: { kind: "item-not-found", reason: "unknown-lease" } }] },
    });
    expect(reasonOf(await partner.say(lease(theirs.id)))).toBe("unknown-exchange");
    await partner.say(release(theirs.id));
    expect(await lent("gamma.test")).toMatchObject([{ id: theirs.id, stage: "leased", vmPhase: "running" }]);
    expect((await site.vm("guest-of-gamma", "gamma")).phase).toBe("running");
  });

  it("B4: a renewal after the release is refused, and the VM stays gone", async () => {
    const id = await leased();
    await partner.say(release(id));
    await until("it is gone", async () => (await lent()).length === 0);
    const answer = await partner.say(renew(id));
    const decoded = answer.kind === "result" && answer.payload ? renewedMessage.decode(answer.payload) : undefined;
    expect(decoded).toMatchObject({
      ok: true,
      value: { leases: [{ state: { stage: "released" }, refusal: { reason: "exchange-over" } }] },
    });
    expect(await lent()).toEqual([]);
  });
});

describe("what is too much, too large, too slow or unknown", () => {
  it("S1: an unknown version, an unknown message and a field that does not decode are refused as such", async () => {
    const next = parse(encodeHold().toString().replace("urn:muster:burst:1", "urn:muster:burst:2"));
    expect(await partner.ask(next)).toMatchObject({ kind: "error", condition: "service-unavailable" });
    const unknown = parse("<grab xmlns='urn:muster:burst:1' id='1'/>");
    expect(await partner.ask(unknown)).toMatchObject({ kind: "error", condition: "service-unavailable" });
    const before = await site.counted("malformed");
    const broken = parse(
      encodeHold()
        .toString()
        .replace(/hold-ms=["']\d+["']/, 'hold-ms="soon"'),
    );
    const answer = await partner.ask(broken);
    expect(answer).toMatchObject({ kind: "error", condition: "not-authorized" });
    const signed = await partner.signed(encodeHold());
    signed.attrs["hold-ms"] = "soon";
    const field = await partner.ask(signed);
    expect(field).toMatchObject({ condition: "bad-request", refusal: { reason: "malformed-hold", field: "holdMs" } });
    await site.untilCounted("malformed", before);
  });

  it("S2: what is far too large ends the way between the servers at most, and the next message goes through", async () => {
    const large = await partner.signed(encodeHold());
    large.attrs.name = "x".repeat(5_000);
    expect(reasonOf(await partner.ask(large))).toBe("malformed-hold");
    const huge = parse(encodeHold().toString());
    huge.attrs.name = "x".repeat(600_000);
    const answer = await Promise.race([partner.ask(huge), pause(2_500)]);
    expect(answer).not.toMatchObject({ kind: "result" });
    await until(
      "an honest message goes through",
      async () => (await partner.say(offerQuery(), "get")).kind === "result",
    );
    expect((await site.vm("guest-of-gamma", "gamma")).phase).toBe("running");
  }, 40_000);

  it("S2: a stream that drips byte by byte holds nobody up", async () => {
    const certificates = join(site.run.state, "beta", "certificates");
    const cert = readFileSync(join(certificates, "site.crt"));
    const key = readFileSync(join(certificates, "site.key"));
    const ca = readFileSync(join(site.run.state, "authority", "ca.crt"));
    const target = { address: `127.0.${LOOPBACK}.1`, port: 5269, ca };
    const streams = await Promise.all(
      Array.from({ length: 5 }, () =>
        openPeer(target, { from: "cloud.beta.test", to: "cloud.alpha.test" }, { cert, key }),
      ),
    );
    const text = `<iq type='set' id='d' from='cloud.beta.test' to='cloud.alpha.test'>${encodeHold().toString()}`;
    let at = 0;
    const drip = setInterval(() => {
      for (const stream of streams) stream.send(text[at % text.length] ?? "");
      at += 1;
    }, 50);
    try {
      for (let round = 0; round < 5; round += 1) {
        const startMs = performance.now();
        expect(await partner.say(offerQuery(), "get")).toMatchObject({ kind: "result" });
        expect(performance.now() - startMs).toBeLessThan(2_000);
      }
    } finally {
      clearInterval(drip);
      for (const stream of streams) stream.close();
    }
  });

  it("S2: a flood is refused beyond the peer's rate and counted; alpha goes on for its users and its other peer", async () => {
    expect(await site.at("alpha", "peer", "policy", "beta.test", "--rate", "10/20")).toMatchObject({ code: 0 });
    const before = await site.counted("flood");
    const questions = await Promise.all(Array.from({ length: 150 }, () => partner.signed(offerQuery())));
    const answers = Promise.all(questions.map((question) => partner.ask(question, "get")));
    const startMs = performance.now();
    expect((await site.run.client().vms()).ok).toBe(true);
    expect(performance.now() - startMs).toBeLessThan(3_000);
    const refused = (await answers).filter((answer) => reasonOf(answer) === "rate-limited");
    expect(refused.length).toBeGreaterThan(60);
    expect(refused[0]).toMatchObject({
      condition: "resource-constraint",
      refusal: { retryAfterMs: expect.any(Number) },
    });
    await site.untilCounted("flood", before);
    expect((await site.peer("gamma.test")).conduct?.offences.flood ?? 0).toBe(0);
    expect((await site.vm("guest-of-gamma", "gamma")).phase).toBe("running");
    expect(await site.at("alpha", "peer", "policy", "beta.test", "--rate", "none")).toMatchObject({ code: 0 });
    await until("it may speak again", async () => (await partner.say(offerQuery(), "get")).kind === "result");
  }, 60_000);
});

describe("a lender that lies", () => {
  /** A receipt for a lease that alpha has there. */
  function receiptFor(of: { readonly id: string; readonly vm: string }, part: Partial<Receipt> = {}): Receipt {
    return {
      ...{ id: randomUUID(), sequence: 1, lender: "beta.test", borrower: "alpha.test", lease: of.id, vm: of.vm },
      ...{ project: "default", owner: "admin", image: "debian-12", fromMs: 0, untilMs: 36_000_000, final: false },
      ...{ startedAt: new Date().toISOString(), prices: NO_PRICES, amount: 0, previous: NO_DIGEST },
      resources: { vcpus: SPEC.vcpus, memoryMiB: SPEC.memoryMiB, diskGiB: SPEC.diskGiB, gpus: 0 },
      ...part,
    };
  }

  it("a lease that is granted and never run is given back, the promise counts as broken, and the VM runs elsewhere", async () => {
    await until("alpha hears its offer", async () => (await site.peer()).offered?.accepting === true);
    await site.burst("promised");
    await until("beta leased it", async () => partner.asked.some(({ name }) => name === "lease"));
    await until(
      "it runs at gamma",
      async () => {
        const { phase, place } = await site.vm("promised");
        return phase === "running" && place.kind === "peer" && place.peer === "gamma.test";
      },
      LEASE_START_MS + 20_000,
    );
    expect((await site.peer()).conduct).toMatchObject({ reliability: 0.5, kept: 0, broken: 1 });
    const shown = await site.at("alpha", "peer", "show", "beta.test");
    expect(shown.stdout).toMatch(/reliability\W+0\.5/);
    expect((await site.peer("gamma.test")).conduct).toMatchObject({ reliability: 1, broken: 0 });
    // What it says of itself is the better offer by far; what it did counts against it.
    const spec = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5 };
    const table = expectOk(await site.run.client().dryRun({ name: "next", spec, burst: "only" }));
    const scores = Object.fromEntries(table.candidates.map(({ name, score }) => [name, score ?? 0]));
    expect(scores["gamma.test"]).toBeGreaterThan(scores["beta.test"] ?? 1);
  }, 60_000);

  it("B6: a receipt above what alpha measured is disputed with both figures and counted; an altered one is refused", async () => {
    partner.manners = lender(() => "running");
    expect(await site.at("alpha", "peer", "policy", "gamma.test", "--no-borrow")).toMatchObject({ code: 0 });
    await site.burst("charged");
    await until("it runs at beta", async () => (await site.vm("charged")).phase === "running");
    const { place, id: vm, project, user } = await site.vm("charged");
    if (place.kind !== "peer") throw new Error("it is not at beta");
    const before = await site.counted("receipt");
    const inflated = receiptFor({ id: place.lease, vm }, { project, owner: user });
    const said = await partner.say(receiptSaid(inflated, site.site.key));
    const decoded = said.kind === "result" && said.payload ? verdictsMessage.decode(said.payload) : undefined;
    expect(decoded).toMatchObject({
      ok: true,
      value: {
        verdicts: [
          { verdict: { verdict: "disputed", reason: expect.stringMatching(/we measured \d+ ms of 36000000 ms/) } },
        ],
      },
    });
    await site.untilCounted("receipt", before);
    const altered = { ...inflated, untilMs: 40_000_000 };
    expect(reasonOf(await partner.say(receiptSaid(altered, site.site.key)))).toBe("receipt-altered");
    const forged = { ...inflated, sequence: 2 };
    expect(reasonOf(await partner.say(receiptSaid(forged, generateSiteKey())))).toBe("bad-receipt-proof");
    await until("all three count", async () => (await site.counted("receipt")) === before + 3);
    const books = expectOk(await site.run.client().ledger({ side: "borrowed", peer: "beta.test" }));
    expect(books).toMatchObject([{ state: "disputed", receipt: { untilMs: 36_000_000 } }]);
  }, 60_000);

  it("S2: an answer that does not come holds a decision up for its deadline only; the VM goes to the honest peer", async () => {
    expect(await site.at("alpha", "peer", "policy", "gamma.test", "--borrow")).toMatchObject({ code: 0 });
    partner.manners = () => undefined;
    await site.burst("past-silence");
    await until("it runs at gamma", async () => {
      const { phase, place } = await site.vm("past-silence");
      return phase === "running" && place.kind === "peer" && place.peer === "gamma.test";
    });
  });

  it("B5: an answer that is not signed by its key is no answer, and counts", async () => {
    const before = await site.counted("signature");
    const other = generateSiteKey();
    const honest = partner.signed.bind(partner);
    partner.signed = (payload, more = {}) => honest(payload, { ...more, key: other });
    partner.manners = lender(() => "running");
    try {
      // Whoever looks for a peer asks for its offer.
      await site.burst("past-forgery");
      await site.untilCounted("signature", before);
    } finally {
      partner.signed = honest;
      partner.manners = () => undefined;
    }
    expect(await site.peer()).toMatchObject({ state: expect.stringMatching(/active|unreachable/) });
  }, 40_000);
});

describe("what an admin's rule does about it", () => {
  it("B5: suspends the peer after so many false signatures, says why, and lets an admin resume it", async () => {
    const before = await site.counted("signature");
    expect(await site.at("alpha", "peer", "policy", "beta.test", "--suspend-after", "3/1h")).toMatchObject({ code: 0 });
    // Without a rule what came before had no consequence; the next offence is judged with it.
    const shownBefore = await site.peer();
    expect(shownBefore.state).not.toBe("suspended");
    await partner.ask(encodeHold());
    await site.untilCounted("signature", before);
    await until("it is suspended", async () => (await site.peer()).state === "suspended");
    const shown = await site.at("alpha", "peer", "show", "beta.test");
    expect(shown.stdout).toMatch(/by rule: \d+ false signatures or receipts within 3600 s/);
    expect(reasonOf(await partner.say(encodeHold()))).toBe("peering-suspended");
    expect(await site.at("alpha", "peer", "resume", "beta.test")).toMatchObject({ code: 0 });
    const held = await partner.say(encodeHold());
    expect(held.kind === "result" && held.payload !== undefined && heldMessage.decode(held.payload).ok).toBe(true);
  }, 40_000);
});
