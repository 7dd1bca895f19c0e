import { encodePeeringRequest, generateSiteKey, type PeeringRequest, type SiteKey, signBurst } from "@muster/broker";
import { decodeInvitation, encodeInvitation, offerQueryMessage } from "@muster/protocol";
import type { MemoryNetwork } from "@muster/xmpp";
import { afterEach, describe, expect, it } from "vitest";
import { newNetwork, type Reply, type TestBed, TOKENS, until } from "../leadership/test-bed.fixture.ts";
import { start, stopAll } from "../xmpp-face/face-site.fixture.ts";
import { CLOUD, Person, refusalOf } from "../xmpp-face/person.fixture.ts";

afterEach(stopAll);

const LEND = { share: 0.5, vmsMax: 10 };

async function two(): Promise<{ alpha: TestBed; beta: TestBed; network: MemoryNetwork }> {
  const network = newNetwork();
  const alpha = await start({ network });
  const beta = await start({ network, domain: "beta.test", hosts: ["h1"] });
  return { alpha, beta, network };
}

async function tokenOf(bed: TestBed, more: object = {}): Promise<string> {
  const made = await bed.send("POST", "/v1/peer-invitations", { body: { domain: "beta.test", lend: LEND, ...more } });
  expect(made.status).toBe(201);
  return String(made.body.token);
}

const accept = (bed: TestBed, token: string, query = ""): Promise<Reply> =>
  bed.send("POST", `/v1/peer-acceptances${query}`, { body: { token, lend: { share: 1 } } });

const peer = async (bed: TestBed, domain: string) => (await bed.get(`/v1/peers/${domain}`)).body;

const untilState = (bed: TestBed, domain: string, state: string) =>
  until(`${domain} is ${state} at ${bed.domain}`, async () => String((await peer(bed, domain)).state) === state);

async function peered(): Promise<{ alpha: TestBed; beta: TestBed; network: MemoryNetwork }> {
  const sites = await two();
  await accept(sites.beta, await tokenOf(sites.alpha));
  await untilState(sites.beta, "alpha.test", "active");
  await untilState(sites.alpha, "beta.test", "active");
  return sites;
}

describe("a peering by invitation", () => {
  it("is active on both sides after an invitation and its acceptance, and carries a burst at once", async () => {
    const { alpha, beta } = await two();
    const token = await tokenOf(alpha);
    expect(await peer(alpha, "beta.test")).toMatchObject({ state: "invited", source: "stored", keyFingerprint: "" });
    const shown = await accept(beta, token, "?dryRun=true");
    expect(shown.body).toMatchObject({
      domain: "alpha.test",
      theirLend: { share: 0.5, vmsMax: 10 },
      lend: { share: 1 },
    });
    expect((await beta.get("/v1/peers")).body.items).toEqual([]);
    expect((await accept(beta, token)).status).toBe(202);
    await untilState(beta, "alpha.test", "active");
    await untilState(alpha, "beta.test", "active");
    expect(await peer(alpha, "beta.test")).toMatchObject({ agreed: { share: 1 }, policy: { share: 0.5 } });
    expect(await peer(beta, "alpha.test")).toMatchObject({ agreed: { share: 0.5 }, policy: { share: 1 } });
    expect(await peer(beta, "alpha.test")).toMatchObject({ keyFingerprint: String(shown.body.fingerprint) });
    await alpha.create({ name: "away", burst: "allow" }, { key: "away" });
    expect(await alpha.untilPhase("away", "running")).toMatchObject({ place: { kind: "peer", peer: "beta.test" } });
  });

  it("S3: keeps no secret of the token in the store", async () => {
    const { alpha, beta } = await two();
    const token = await tokenOf(alpha);
    const decoded = decodeInvitation(token);
    const secret = decoded.ok ? decoded.value.secret : "";
    await accept(beta, token);
    await untilState(beta, "alpha.test", "active");
    for (const bed of [alpha, beta]) {
      expect([...bed.disk.records.values()].join()).not.toContain(secret);
      expect(bed.log.join()).not.toContain(secret);
    }
  });

  it("B1: the same request again, after a lost answer, gets the same token", async () => {
    const { alpha } = await two();
    const secret = Buffer.alloc(32, 3).toString("base64url");
    const once = { invitation: "01900000-0000-7000-8000-00000000000b", secret };
    const token = await tokenOf(alpha, { once });
    expect(await tokenOf(alpha, { once })).toBe(token);
    const other = { ...once, secret: Buffer.alloc(32, 4).toString("base64url") };
    const taken = await alpha.send("POST", "/v1/peer-invitations", { body: { domain: "beta.test", once: other } });
    expect(taken).toMatchObject({ status: 409, body: { reason: "id-taken" } });
    expect(await tokenOf(alpha)).not.toBe(token);
  });

  it("is for admins only", async () => {
    const { alpha } = await two();
    const asked = await alpha.send("POST", "/v1/peer-invitations", {
      body: { domain: "beta.test" },
      token: TOKENS.user,
    });
    expect(asked.status).toBe(403);
  });

  it.each([
    ["is cut off", (token: string) => token.slice(0, -5), /cut off or altered/],
    ["is no token", () => "hello", /cut off or altered/],
    ["is for another site", rewritten({ for: "gamma.test" }), /is for gamma.test/],
    ["has expired", rewritten({ expiresAt: 1 }), /has expired/],
    [
      "has another address than its site's",
      rewritten({ cloud: "cloud.mallory.test" }),
      /cloud must be the cloud address/,
    ],
  ])("says what is wrong with a token that %s", async (_what, spoil, said) => {
    const { alpha, beta } = await two();
    const answer = await accept(beta, spoil(await tokenOf(alpha)));
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(String(answer.body.detail)).toMatch(said);
    expect((await beta.get("/v1/peers")).body.items).toEqual([]);
  });

  it.each([
    ["whose secret was guessed", { secret: Buffer.alloc(32, 7).toString("base64url") }, /proof is not that/],
    ["under an id that nobody gave", { invitation: "01900000-0000-7000-8000-000000000000" }, /no such invitation/],
  ])("B5: refuses an acceptance %s, and the invited site says why", async (_what, change, said) => {
    const { alpha, beta } = await two();
    await accept(beta, rewritten(change)(await tokenOf(alpha)));
    await untilState(beta, "alpha.test", "left");
    expect(String((await peer(beta, "alpha.test")).reason)).toMatch(said);
    expect(await peer(alpha, "beta.test")).toMatchObject({ state: "invited" });
  });

  it("B5: refuses an acceptance after its time by the clock of who invited", async () => {
    const { alpha, beta } = await two();
    const token = await tokenOf(alpha, { expiresMs: 1_000 });
    await until("it has run out", async () => (await alpha.get("/v1/peers/beta.test")).status === 404);
    await accept(beta, rewritten({ expiresAt: 4_000_000_000 })(token));
    await untilState(beta, "alpha.test", "left");
  });

  it("B1: a second site with the same token is refused", async () => {
    const { alpha, network } = await two();
    const token = await tokenOf(alpha);
    const gamma = await start({ network, domain: "gamma.test" });
    await accept(gamma, rewritten({ for: "gamma.test" })(token));
    await untilState(gamma, "alpha.test", "left");
    expect(String((await peer(gamma, "alpha.test")).reason)).toMatch(/no such invitation/);
  });

  it("survives a restart, from the store, and is part of backups", async () => {
    const keys = [generateSiteKey(), generateSiteKey()] as const;
    const network = newNetwork();
    const [alpha, beta] = await sitesWith(network, keys);
    await accept(beta, await tokenOf(alpha));
    await untilState(alpha, "beta.test", "active");
    await untilState(beta, "alpha.test", "active");
    const headers = { authorization: `Bearer ${TOKENS.admin}` };
    const backup = await alpha.manager.api.inject({ method: "GET", url: "/v1/backup", headers });
    expect(backup.body).toContain("peer/beta.test");
    await alpha.stop();
    const again = await start({ network, key: keys[0], disk: alpha.disk });
    expect(await peer(again, "beta.test")).toMatchObject({ state: "active", agreed: { share: 1 } });
    await again.create({ name: "away", burst: "allow" }, { key: "away" });
    await again.untilPhase("away", "running");
  });
});

describe("the door for what is said about a peering", () => {
  const TERMS = { accept: true, sharePermille: 1_000, leaseMsMax: 60_000, vmsMax: 1, images: [] };
  const state = (peering: string, sequence = 9_999_999_999_999): PeeringRequest => ({
    kind: "state",
    body: { peering, sequence, state: "left", lend: TERMS },
  });
  const ROUTE = { from: "beta.test", to: "alpha.test" };

  it("B5: lets who is invited accept, and nothing else", async () => {
    const network = newNetwork();
    const alpha = await start({ network });
    const decoded = decodeInvitation(await tokenOf(alpha));
    const id = decoded.ok ? decoded.value.invitation : "";
    const beta = await Person.online(network, "cloud.beta.test");
    const key = generateSiteKey();
    const query = await signBurst(offerQueryMessage.encode({ term: 1 }), ROUTE, key);
    expect(refusalOf(await beta.ask(query, "get", CLOUD, "cloud.beta.test"))).toMatchObject({ reason: "no-peering" });
    const left = await signBurst(encodePeeringRequest(state(id)), ROUTE, key);
    expect(refusalOf(await beta.ask(left, "set", CLOUD, "cloud.beta.test"))).toMatchObject({ reason: "no-peering" });
    expect(await peer(alpha, "beta.test")).toMatchObject({ state: "invited" });
  });

  it("B5: refuses what is not signed by the pinned key, from below the cloud address, or of an earlier peering", async () => {
    const keys = [generateSiteKey(), generateSiteKey()] as const;
    const network = newNetwork();
    const [alpha, site] = await sitesWith(network, keys);
    const decoded = decodeInvitation(await tokenOf(alpha));
    const id = decoded.ok ? decoded.value.invitation : "";
    await accept(site, decoded.ok ? encodeInvitation(decoded.value) : "");
    await untilState(site, "alpha.test", "active");
    await site.stop();
    const beta = await Person.online(network, "cloud.beta.test");
    const say = async (request: PeeringRequest, key = keys[1], from = "cloud.beta.test") =>
      refusalOf(await beta.ask(await signBurst(encodePeeringRequest(request), ROUTE, key), "set", CLOUD, from));
    expect(await say(state(id), keys[0])).toMatchObject({ reason: "bad-signature" });
    expect(await say(state(id), keys[1], "x@cloud.beta.test")).toMatchObject({ reason: "no-peering" });
    expect(await say(state("01900000-0000-7000-8000-000000000000"))).toMatchObject({ reason: "other-peering" });
    const bare = await beta.ask(encodePeeringRequest(state(id)), "set", CLOUD, "cloud.beta.test");
    expect(refusalOf(bare)).toMatchObject({ reason: "unsigned" });
    expect(String((await peer(alpha, "beta.test")).state)).not.toBe("left");
    const good = await signBurst(encodePeeringRequest(state(id)), ROUTE, keys[1]);
    expect((await beta.ask(good, "set", CLOUD, "cloud.beta.test")).kind).toBe("result");
    expect(await peer(alpha, "beta.test")).toMatchObject({ state: "left" });
  });

  it("B5: a site that nobody here knows is refused, whoever speaks well of it", async () => {
    const { network } = await peered();
    const gamma = await Person.online(network, "cloud.gamma.test");
    const key = generateSiteKey();
    const payload = await signBurst(
      encodePeeringRequest(state("01900000-0000-7000-8000-000000000000")),
      { from: "gamma.test", to: "alpha.test" },
      key,
    );
    const refused = await gamma.ask(payload, "set", CLOUD, "cloud.gamma.test");
    expect(refusalOf(refused)).toMatchObject({ condition: "forbidden", reason: "no-peering" });
  });
});

describe("a peering in force", () => {
  it("is suspended and resumed: the partner is told, with the reason, and nothing is asked meanwhile", async () => {
    const { alpha, beta } = await peered();
    await beta.send("POST", "/v1/peers/alpha.test/suspend", { body: { reason: "maintenance" } });
    await until("alpha hears", async () => String((await peer(alpha, "beta.test")).partner?.state) === "suspended");
    expect(await peer(alpha, "beta.test")).toMatchObject({ partner: { reason: "maintenance" }, state: "active" });
    await alpha.create({ name: "waits", burst: "allow" }, { key: "waits" });
    await until("it says why", async () => {
      const why = (await alpha.get("/v1/vms/waits/why")).body;
      return JSON.stringify(why).includes("peer-suspended");
    });
    await beta.send("POST", "/v1/peers/alpha.test/resume", { body: {} });
    await alpha.untilPhase("waits", "running");
  });

  it("B4: is drained: no new lease, and the one that runs is not renewed", async () => {
    const { alpha, beta } = await peered();
    await alpha.create({ name: "runs", burst: "allow", leaseMs: 60_000 }, { key: "runs" });
    await alpha.untilPhase("runs", "running");
    await beta.send("POST", "/v1/peers/alpha.test/drain", { body: { reason: "moving out" } });
    await until("alpha hears", async () => String((await peer(alpha, "beta.test")).partner?.state) === "draining");
    await alpha.create({ name: "late", burst: "allow" }, { key: "late" });
    await until("it says why", async () =>
      JSON.stringify((await alpha.get("/v1/vms/late/why")).body).includes("peer-draining"),
    );
    expect((await beta.get("/v1/leases")).body.items).toMatchObject([{ stage: "leased" }]);
  });

  it("is left: both sides show it with the reason, and a new invitation makes a new one", async () => {
    const { alpha, beta } = await peered();
    await beta.send("POST", "/v1/peers/alpha.test/leave", { body: { reason: "the project is over" } });
    await untilState(alpha, "beta.test", "left");
    expect(String((await peer(alpha, "beta.test")).reason)).toMatch(/left: the project is over/);
    await until("beta knows that alpha heard", async () => String((await peer(beta, "alpha.test")).told) === "true");
    await accept(beta, await tokenOf(alpha));
    await untilState(alpha, "beta.test", "active");
    await untilState(beta, "alpha.test", "active");
  });

  it("is left while the partner is dead, which hears of it when it is back", async () => {
    const keys = [generateSiteKey(), generateSiteKey()] as const;
    const network = newNetwork();
    const [alpha, beta] = await sitesWith(network, keys);
    await accept(beta, await tokenOf(alpha));
    await untilState(beta, "alpha.test", "active");
    await alpha.stop();
    const left = await beta.send("POST", "/v1/peers/alpha.test/leave", { body: {} });
    expect(left.body).toMatchObject({ state: "left", told: false });
    const again = await start({ network, key: keys[0], disk: alpha.disk });
    await untilState(again, "beta.test", "left");
  });

  it("tells the partner what is lent from now on", async () => {
    const { alpha, beta } = await peered();
    const set = await beta.send("POST", "/v1/peers/alpha.test/policy", { body: { lend: { vmsMax: 3 } } });
    expect(set.body).toMatchObject({ policy: { vmsMax: 3, share: 1 } });
    await until("alpha hears", async () => String((await peer(alpha, "beta.test")).agreed?.vmsMax) === "3");
  });

  it("of the configuration is halted and resumed at run time, also across a restart, and left only there", async () => {
    const alpha = await start({ peers: [{ domain: "beta.test", publicKey: generateSiteKey().publicKey }] });
    expect(await peer(alpha, "beta.test")).toMatchObject({ source: "config" });
    const answer = await alpha.send("POST", "/v1/peers/beta.test/suspend", { body: {} });
    expect(answer).toMatchObject({ status: 200, body: { state: "suspended", source: "config" } });
    const left = await alpha.send("POST", "/v1/peers/beta.test/leave", { body: {} });
    expect(left).toMatchObject({ status: 409, body: { reason: "configured-peer", detail: /take it out there/ } });
    const invited = await alpha.send("POST", "/v1/peer-invitations", { body: { domain: "beta.test" } });
    expect(invited).toMatchObject({ status: 409 });
  });
});

describe("succession of keys", () => {
  it("B5: the next key is told under the present one, pinned by the peer, and bursts go on", async () => {
    const [old, next] = [generateSiteKey(), generateSiteKey()];
    const network = newNetwork();
    let held: readonly SiteKey[] = [old];
    const lasting = () => held.map(({ publicKey }) => publicKey);
    const keys = { keys: () => held, lasting, reload: () => ({ ok: true, value: lasting() }) as const };
    const alpha = await start({ network, keys });
    const beta = await start({ network, domain: "beta.test", hosts: ["h1"] });
    await accept(beta, await tokenOf(alpha));
    await untilState(alpha, "beta.test", "active");
    const early = await alpha.send("POST", "/v1/site/rotate-key", { body: {} });
    expect(early).toMatchObject({ status: 409, body: { reason: "no-next-key" } });
    held = [old, next];
    const done = await alpha.send("POST", "/v1/site/rotate-key", { body: { overlapMs: 60_000 } });
    expect(done.body).toMatchObject({ sequence: 2, fingerprint: next.fingerprint, waitingFor: ["beta.test"] });
    await until("beta pinned it", async () => String((await peer(beta, "alpha.test")).keySequence) === "2");
    expect(await peer(beta, "alpha.test")).toMatchObject({ earlierKey: { fingerprint: old.fingerprint } });
    await until("alpha knows", async () => String((await peer(alpha, "beta.test")).ourKey?.sequence) === "2");
    await alpha.create({ name: "away", burst: "allow" }, { key: "away" });
    await alpha.untilPhase("away", "running");
  });
});

function rewritten(change: object): (token: string) => string {
  return (token) => {
    const decoded = decodeInvitation(token);
    if (!decoded.ok) throw new Error("the token does not decode");
    return encodeInvitation({ ...decoded.value, ...change });
  };
}

async function sitesWith(network: MemoryNetwork, keys: readonly [SiteKey, SiteKey]): Promise<[TestBed, TestBed]> {
  const alpha = await start({ network, key: keys[0] });
  return [alpha, await start({ network, key: keys[1], domain: "beta.test", hosts: ["h1"] })];
}
