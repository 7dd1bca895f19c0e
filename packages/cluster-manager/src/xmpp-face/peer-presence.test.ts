/** Presence between sites over the in-memory bus: to peers, only to them, only what changed, and away when the peering is. */
import { generateSiteKey } from "@muster/broker";
import { type SitePresence, sitePresenceMessage } from "@muster/protocol";
import { Element } from "ltx";
import { afterEach, describe, expect, it } from "vitest";
import { newNetwork, type TestBed, until } from "../leadership/test-bed.fixture.ts";
import { start, stopAll } from "./face-site.fixture.ts";
import { CLOUD, Person } from "./person.fixture.ts";

afterEach(stopAll);

const BETA = "cloud.beta.test";
const CLOSED: SitePresence = {
  accepting: false,
  free: { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 },
  classes: [],
  maintenance: { reason: "new switches", until: "2026-12-01T06:00:00.000Z" },
};

async function begin(lend: object = { accept: true, share: 1 }) {
  const network = newNetwork();
  const beta = await Person.online(network, BETA);
  const stranger = await Person.online(network, "cloud.gamma.test");
  const config = { peers: [{ domain: "beta.test", publicKey: generateSiteKey().publicKey, lend }] };
  const bed = await start({ network, config, hosts: ["h1"] });
  return { bed, beta, stranger };
}

const shownTo = (person: Person) =>
  person.presences.filter(({ from }) => from === CLOUD).filter(({ type }) => type === "");

/** What the site showed last, as a machine reads it. */
function lastShown(person: Person): SitePresence | undefined {
  const stanza = shownTo(person).at(-1)?.stanza;
  const said = stanza?.getChildElements().find(({ name }) => name === "site");
  const decoded = said === undefined ? undefined : sitePresenceMessage.decode(said);
  return decoded?.ok === true ? decoded.value : undefined;
}

async function heardOf(bed: TestBed) {
  return (await bed.get("/v1/peers/beta.test")).body;
}

function presenceOf(presence: SitePresence): Element {
  const stanza = new Element("presence", { to: CLOUD });
  stanza.append(sitePresenceMessage.encode(presence));
  return stanza;
}

describe("presence for peers", () => {
  it("shows a peer, unasked, coarsely what it could borrow, and a stranger nothing, also when it asks", async () => {
    const { bed, beta, stranger } = await begin();
    await until("beta is shown room", () => (lastShown(beta)?.free.vcpus ?? 0) > 0);
    const { free } = lastShown(beta) ?? CLOSED;
    for (const amount of [free.vcpus, free.memoryMiB, free.diskGiB])
      expect(Number.isInteger(Math.log2(amount))).toBe(true);
    expect(beta.last(CLOUD)).toMatch(/^available \| - \| about \d+ vCPU to lend/);
    for (const type of ["subscribe", "probe"]) await stranger.presence(CLOUD, type);
    await stranger.bus.send(presenceOf(CLOSED));
    await bed.send("POST", "/v1/site/maintenance", { body: { reason: "new switches" } });
    await until("beta sees it", () => lastShown(beta)?.maintenance !== undefined);
    expect(stranger.presences).toEqual([]);
  });

  it("shows only as much as the policy allows", async () => {
    const { beta } = await begin({ accept: false });
    await until("beta is shown something", () => lastShown(beta) !== undefined);
    expect(lastShown(beta)).toMatchObject({ accepting: false, free: { vcpus: 0, memoryMiB: 0 } });
    expect(beta.last(CLOUD)).toMatch(/^available \| dnd \| requests of your site are not accepted/);
  });

  it("shows maintenance as xa with its reason and end, says a change once, and its end again", async () => {
    const { bed, beta } = await begin();
    await until("beta is shown room", () => (lastShown(beta)?.free.vcpus ?? 0) > 0);
    const until2030 = "2030-12-01T06:00:00.000Z";
    const set = await bed.send("POST", "/v1/site/maintenance", { body: { reason: "new switches", until: until2030 } });
    expect(set).toMatchObject({ status: 400, body: { faults: [{ field: "until" }] } });
    const soon = new Date(Date.now() + 3_600_000).toISOString();
    const body = { reason: "new switches", until: soon };
    expect((await bed.send("POST", "/v1/site/maintenance", { body })).body).toMatchObject({ maintenance: body });
    await until("beta sees it", () => lastShown(beta)?.maintenance !== undefined);
    expect(beta.last(CLOUD)).toBe(`available | xa | maintenance until ${soon}: new switches`);
    const said = shownTo(beta).length;
    await bed.send("POST", "/v1/site/maintenance", { body });
    expect((await bed.send("DELETE", "/v1/site/maintenance")).body.maintenance).toBeUndefined();
    await until("beta sees its end", () => lastShown(beta)?.maintenance === undefined);
    expect(shownTo(beta).length).toBe(said + 1);
  });

  it("answers a subscription and a probe of a peer, and goes with the peering", async () => {
    const { bed, beta } = await begin();
    await until("beta is shown room", () => (lastShown(beta)?.free.vcpus ?? 0) > 0);
    const said = shownTo(beta).length;
    await beta.presence(CLOUD, "subscribe");
    await until("it is subscribed", () => beta.presences.some(({ type }) => type === "subscribed"));
    await until("it is told again", () => shownTo(beta).length > said);
    await bed.send("POST", "/v1/peers/beta.test/suspend", { body: {} });
    await until("it is told that there is nothing more", () => beta.presences.at(-1)?.type === "unavailable");
    await beta.presence(CLOUD, "probe");
    await bed.send("POST", "/v1/peers/beta.test/resume", { body: {} });
    await until("it is shown again", () => beta.presences.at(-1)?.type === "");
  });

  it("hears what a peer shows, asks it for nothing while it lends nothing, and forgets it when it goes", async () => {
    const { bed, beta } = await begin();
    await beta.bus.send(presenceOf(CLOSED));
    await until("it is heard", async () => (await heardOf(bed)).presence !== undefined);
    expect(await heardOf(bed)).toMatchObject({ presence: CLOSED });
    await beta.presence(CLOUD, "unavailable");
    await until("it is forgotten", async () => (await heardOf(bed)).presence === undefined);
    const broken = presenceOf(CLOSED);
    for (const child of broken.getChildElements()) child.attrs.accepting = "perhaps";
    await beta.bus.send(broken);
    await beta.bus.send(presenceOf({ ...CLOSED, accepting: true }));
    await until("the next one is heard", async () => (await heardOf(bed)).presence !== undefined);
    expect(await heardOf(bed)).toMatchObject({ presence: { accepting: true } });
  });
});
