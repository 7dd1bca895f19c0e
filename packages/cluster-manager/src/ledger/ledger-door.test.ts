/** Receipts as they come in over XMPP: settled between two sites, and what becomes of forged ones. */
import { randomUUID, sign } from "node:crypto";
import { generateSiteKey, type SiteKey, signBurst } from "@muster/broker";
import { canonicalText, NO_DIGEST, NO_PRICES, type Receipt, receiptsMessage, verdictsMessage } from "@muster/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { newNetwork, until } from "../leadership/test-bed.fixture.ts";
import { start, stopAll } from "../xmpp-face/face-site.fixture.ts";
import { CLOUD, Person, refusalOf } from "../xmpp-face/person.fixture.ts";

afterEach(stopAll);

const ROUTE = { from: "beta.test", to: "alpha.test" };

function receipt(part: Partial<Receipt> = {}): Receipt {
  return {
    ...{ id: randomUUID(), sequence: 1, lender: "beta.test", borrower: "alpha.test", lease: randomUUID() },
    ...{ vm: randomUUID(), project: "default", owner: "ann", image: "debian-12", fromMs: 0, untilMs: 1, final: true },
    startedAt: "2026-11-21T08:00:00.000Z",
    resources: { vcpus: 1, memoryMiB: 512, diskGiB: 1, gpus: 0 },
    ...{ prices: NO_PRICES, amount: 0, previous: NO_DIGEST },
    ...part,
  };
}

/** Made by hand from what the specification says. */
function proofOf(said: Receipt, key: SiteKey): string {
  const text = canonicalText({ type: "urn:muster:receipt:1", receipt: said });
  const [header, payload] = [JSON.stringify({ alg: "EdDSA" }), text].map((part) =>
    Buffer.from(part).toString("base64url"),
  );
  return `${header}..${sign(null, Buffer.from(`${header}.${payload}`), key.privateKey).toString("base64url")}`;
}

describe("receipts over XMPP", () => {
  it("B6: settles what two sites had of each other, and counts it on both", async () => {
    const network = newNetwork();
    const [alphaKey, betaKey] = [generateSiteKey(), generateSiteKey()];
    const alphaPeers = [{ domain: "beta.test", publicKey: betaKey.publicKey }];
    const betaPeers = [{ domain: "alpha.test", publicKey: alphaKey.publicKey }];
    const beta = await start({ domain: "beta.test", network, key: betaKey, hosts: ["h1"], peers: betaPeers });
    const alpha = await start({ network, key: alphaKey, hosts: [], peers: alphaPeers });
    await alpha.create({ name: "away", burst: "allow" }, { key: "away" });
    await alpha.untilPhase("away", "running");
    await alpha.send("DELETE", "/v1/vms/away");
    await until("the receipt is agreed", async () => {
      const { body } = await beta.get("/v1/ledger?side=lent");
      return String(body.items?.[0]?.state) === "agreed";
    });
    const [there, here] = [await beta.get("/v1/ledger?side=lent"), await alpha.get("/v1/ledger?side=borrowed")];
    expect(here.body.items?.[0]?.receipt).toEqual(there.body.items?.[0]?.receipt);
    expect(here.body.items?.[0]?.borrowerProof).toEqual(there.body.items?.[0]?.borrowerProof);
    for (const bed of [alpha, beta])
      expect((await bed.get("/v1/ledger/verification")).body).toMatchObject({ receipts: 1, findings: [] });
  });

  it("B5: refuses a forged receipt in a stanza that is signed well, says so, and counts it", async () => {
    const [own, theirs] = [generateSiteKey(), generateSiteKey()];
    const bed = await start({ key: own, peers: [{ domain: "beta.test", publicKey: theirs.publicKey }] });
    const beta = await Person.online(bed.network, "cloud.beta.test");
    const say = async (said: Receipt, proof: string, key = theirs) => {
      const payload = await signBurst(receiptsMessage.encode({ receipts: [{ receipt: said, proof }] }), ROUTE, key);
      return beta.ask(payload, "set", CLOUD, "cloud.beta.test");
    };
    const true1 = receipt();
    const proof = proofOf(true1, theirs);
    expect(refusalOf(await say(true1, proof, own))).toMatchObject({ reason: "bad-signature" });
    expect(refusalOf(await say(true1, proofOf(true1, own)))).toMatchObject({ reason: "bad-receipt-proof" });
    expect(refusalOf(await say({ ...true1, amount: 5 }, proof))).toMatchObject({ reason: "bad-receipt-proof" });
    expect((await bed.get("/v1/ledger")).body.items).toEqual([]);
    expect((await bed.get("/v1/ledger/balances")).body.items).toMatchObject([{ peer: "beta.test", refused: 2 }]);
    const metrics = await bed.send("GET", "/metrics", { token: undefined });
    expect(JSON.stringify(metrics.body)).toMatch(/muster_stanzas_total\{from=\\"peer\\",verdict=\\"refused\\"\} 3/);

    const answer = await say(true1, proof);
    const verdicts = answer.kind === "result" && answer.payload !== undefined && verdictsMessage.decode(answer.payload);
    expect(verdicts).toMatchObject({ ok: true, value: { next: 2, verdicts: [{ verdict: { verdict: "disputed" } }] } });
    const altered = { ...true1, project: "other" };
    expect(refusalOf(await say(altered, proofOf(altered, theirs)))).toMatchObject({
      condition: "conflict",
      reason: "receipt-altered",
    });
    expect((await bed.get("/v1/ledger?state=disputed")).body.items).toMatchObject([
      { receipt: { project: "default" } },
    ]);
  });
});
