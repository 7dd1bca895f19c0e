import { randomUUID } from "node:crypto";
import { generateSiteKey, signBurst } from "@muster/broker";
import { holdMessage, leaseNoticeMessage, NS_BURST, offerMessage, offerQueryMessage } from "@muster/protocol";
import { Element } from "ltx";
import { afterEach, describe, expect, it } from "vitest";
import { newNetwork, until } from "../leadership/test-bed.fixture.ts";
import { start, stopAll } from "./face-site.fixture.ts";
import { CLOUD, Person, refusalOf } from "./person.fixture.ts";

afterEach(stopAll);

describe("peers", () => {
  it("B5: refuses what is not signed by an active peering's own cloud address", async () => {
    const [own, theirs] = [generateSiteKey(), generateSiteKey()];
    const bed = await start({ hosts: ["h1"], key: own, peers: [{ domain: "beta.test", publicKey: theirs.publicKey }] });
    const route = { from: "beta.test", to: "alpha.test" };
    const query = () => offerQueryMessage.encode({ term: 1 });
    const beta = await Person.online(bed.network, "cloud.beta.test");
    const say = (payload: Element, from = "cloud.beta.test") => beta.ask(payload, "get", CLOUD, from);
    expect(refusalOf(await say(query()))).toMatchObject({ condition: "not-authorized", reason: "unsigned" });
    expect(refusalOf(await say(await signBurst(query(), route, own)))).toMatchObject({ reason: "bad-signature" });
    expect(refusalOf(await say(await signBurst(query(), route, theirs), "x@cloud.beta.test"))).toMatchObject({
      reason: "no-peering",
    });
    const elsewhere = await signBurst(query(), { from: "beta.test", to: "gamma.test" }, theirs);
    expect(refusalOf(await say(elsewhere))).toMatchObject({ reason: "bad-signature" });
    const gamma = await Person.online(bed.network, "cloud.gamma.test");
    const unpeered = await gamma.ask(await signBurst(query(), route, theirs), "get", CLOUD, "cloud.gamma.test");
    expect(refusalOf(unpeered)).toMatchObject({ condition: "forbidden", reason: "no-peering" });
    const hold = await gamma.ask(new Element(holdMessage.name, { xmlns: NS_BURST }), "set", CLOUD, "cloud.gamma.test");
    expect(refusalOf(hold)).toMatchObject({ condition: "forbidden" });
    const good = await say(await signBurst(query(), route, theirs));
    expect(good.kind === "result" && good.payload !== undefined && offerMessage.decode(good.payload)).toMatchObject({
      ok: true,
      value: { accepting: true },
    });
    expect([...bed.disk.records.keys()].filter((key) => key.startsWith("lend/"))).toEqual([]);
  });

  it("takes no notice of states that a stranger sends", async () => {
    const bed = await start({ hosts: ["h1"] });
    const gamma = await Person.online(bed.network, "cloud.gamma.test");
    const message = new Element("message", { to: CLOUD, from: "cloud.gamma.test" });
    message.append(
      leaseNoticeMessage.encode({ states: [{ id: randomUUID(), revision: 1, stage: "leased", remainingMs: 1 }] }),
    );
    await gamma.bus.send(message);
    await until("it is logged", () => bed.log.some((line) => line.includes("no-peering")));
    expect((await bed.get("/v1/leases")).body.items).toEqual([]);
  });

  it("bursts to a peer, shows the lease on both sides, and releases it", async () => {
    const network = newNetwork();
    const [alphaKey, betaKey] = [generateSiteKey(), generateSiteKey()];
    const alphaPeers = [{ domain: "beta.test", publicKey: betaKey.publicKey }];
    const betaPeers = [{ domain: "alpha.test", publicKey: alphaKey.publicKey }];
    const beta = await start({ domain: "beta.test", network, key: betaKey, hosts: ["h1"], peers: betaPeers });
    const alpha = await start({ network, key: alphaKey, hosts: [], peers: alphaPeers });
    await alpha.create({ name: "away", burst: "allow" }, { key: "away" });
    expect(await alpha.untilPhase("away", "running")).toMatchObject({ place: { kind: "peer", peer: "beta.test" } });
    expect((await alpha.get("/v1/leases")).body.items).toMatchObject([{ role: "borrower", stage: "leased" }]);
    expect((await beta.get("/v1/leases")).body.items).toMatchObject([
      { role: "lender", stage: "leased", peer: "alpha.test" },
    ]);
    expect((await beta.get("/v1/vms")).body.items).toMatchObject([
      { origin: { kind: "peer", peer: "alpha.test" }, phase: "running" },
    ]);
    const { id } = (await alpha.get("/v1/vms/away")).body;
    await alpha.send("DELETE", `/v1/vms/${id}`);
    await alpha.untilPhase(String(id), "deleted");
    await until(
      "beta removed it",
      async () => String((await beta.get("/v1/vms")).body.items?.[0]?.phase) === "deleted",
    );
  });
});
