/** Two sites of which one comes to the other as a client account, on a network in memory. */
import { generateSiteKey, signBurst } from "@muster/broker";
import { offerQueryMessage } from "@muster/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { newNetwork, type TestBed, until } from "../leadership/test-bed.fixture.ts";
import { start, stopAll } from "./face-site.fixture.ts";
import { CLOUD, Person, refusalOf } from "./person.fixture.ts";

afterEach(stopAll);

const JID = "cloud-beta.test@alpha.test";
const ACCOUNT = { kind: "account", jid: JID };
const LOGIN = { kind: "client", jid: JID, server: "xmpps://alpha.test:5223", passwordFile: "unused" };

async function twoSites() {
  const network = newNetwork();
  const [alphaKey, betaKey] = [generateSiteKey(), generateSiteKey()];
  const ofAlpha = [{ domain: "beta.test", publicKey: betaKey.publicKey, reach: ACCOUNT }];
  const ofBeta = [{ domain: "alpha.test", publicKey: alphaKey.publicKey, reach: LOGIN }];
  const alpha = await start({ network, key: alphaKey, hosts: ["h1"], peers: ofAlpha });
  // No way between the servers: what goes to or comes from the other component is lost.
  const heal = network.partition(["cloud.alpha.test"], ["cloud.beta.test"]);
  const startBeta = () => start({ domain: "beta.test", network, key: betaKey, hosts: ["h1"], peers: ofBeta });
  return { network, alpha, betaKey, startBeta, heal };
}

async function burstRuns(home: TestBed, name: string, peer: string): Promise<void> {
  await home.create({ name, burst: "only" }, { key: name });
  expect(await home.untilPhase(name, "running")).toMatchObject({ place: { kind: "peer", peer } });
}

describe("a site that comes as a client account", () => {
  it("bursts and is burst to, with nothing between the servers", async () => {
    const { alpha, startBeta } = await twoSites();
    const beta = await startBeta();
    await burstRuns(beta, "out", "alpha.test");
    await burstRuns(alpha, "in", "beta.test");
  });

  it("B5: is refused from its component, from another account, and by its account without its key", async () => {
    const { network, alpha, betaKey, heal } = await twoSites();
    heal();
    const signed = () =>
      signBurst(offerQueryMessage.encode({ term: 1 }), { from: "beta.test", to: "alpha.test" }, betaKey);
    const component = await Person.online(network, "cloud.beta.test");
    const asComponent = await component.ask(await signed(), "get", CLOUD, "cloud.beta.test");
    expect(refusalOf(asComponent)).toMatchObject({ condition: "forbidden", reason: "other-way" });
    const other = await Person.online(network, "cloud-gamma.test@alpha.test/muster");
    expect(refusalOf(await other.ask(await signed()))).toMatchObject({ condition: "forbidden", reason: "no-peering" });
    const account = await Person.online(network, `${JID}/muster`);
    expect(refusalOf(await account.ask(offerQueryMessage.encode({ term: 1 })))).toMatchObject({ reason: "unsigned" });
    expect(await account.ask(await signed())).toMatchObject({ kind: "result" });
    expect(alpha.ends).toEqual([]);
  });

  it("B2: what is asked while nobody is logged in is unknown, and asked again once somebody is", async () => {
    const { alpha, startBeta } = await twoSites();
    await alpha.create({ name: "waits", burst: "only" }, { key: "waits" });
    await until("it waits", async () => String((await alpha.get("/v1/vms/waits")).body.phase) === "queued");
    await startBeta();
    expect(await alpha.untilPhase("waits", "running")).toMatchObject({ place: { peer: "beta.test" } });
  });
});
