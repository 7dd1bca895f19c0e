import { randomUUID } from "node:crypto";
import { capacityMessage, NS_CAPACITY } from "@muster/protocol";
import { Element } from "ltx";
import { afterEach, describe, expect, it } from "vitest";
import { newNetwork, TestBed, until } from "../leadership/test-bed.fixture.ts";
import { MemoryDisk } from "../store/memory-store.ts";
import { start, stopAll, WATCHERS } from "./face-site.fixture.ts";
import { CLOUD, Person, refusalOf } from "./person.fixture.ts";

afterEach(stopAll);

describe("roster and presence", () => {
  it("lets a permitted account watch site, hosts and VMs through a VM's life", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    for (const contact of [CLOUD, `host-h1@${CLOUD}`, `broker@${CLOUD}`]) await ann.presence(contact, "subscribe");
    await until("all are shown", () => ann.last(`broker@${CLOUD}`)?.startsWith("available") === true);
    expect(ann.presences.find(({ from, type }) => from === CLOUD && type === "subscribed")).toBeDefined();
    // The host's first report may come after the site's first presence.
    const calm = "available | - | 64/64 vCPU free, 0 VMs, 0 queued, led by a in term 1, no standby";
    await until("the site shows its host", () => ann.last(CLOUD) === calm);
    expect(ann.last(`host-h1@${CLOUD}`)).toMatch(/^available \| - \| /);
    const host = ann.presences.filter(({ from }) => from === `host-h1@${CLOUD}`).at(-1);
    const capacity = host?.stanza.getChild("capacity", NS_CAPACITY);
    expect(capacity !== undefined && capacityMessage.decode(capacity)).toMatchObject({
      ok: true,
      value: { total: { vcpus: 64 } },
    });
    await bed.create({ name: "seen" }, { key: "seen" });
    const { id } = await bed.untilPhase("seen", "running");
    const contact = `vm-${id}@${CLOUD}`;
    await ann.presence(contact, "subscribe");
    await until("it runs", () => ann.last(contact) === "available | - | running on h1");
    await until(
      "the site has less",
      () => ann.last(CLOUD)?.startsWith("available | - | 62/64 vCPU free, 1 VM, 0 queued,") === true,
    );
    await bed.send("POST", "/v1/vms/seen/suspend");
    await until("it is paused", () => ann.last(contact) === "available | away | paused on h1");
    await bed.send("POST", "/v1/vms/seen/stop");
    await until("it is stopped", () => ann.last(contact)?.startsWith("unavailable | - | stopped") === true);
    await bed.send("POST", "/v1/hosts/h1/drain");
    await until(
      "the host drains",
      () => ann.last(`host-h1@${CLOUD}`)?.startsWith("available | xa | draining") === true,
    );
    bed.host("h1").hush();
    await until("the host is lost", () => ann.last(`host-h1@${CLOUD}`)?.startsWith("unavailable") === true);
    expect(ann.last(CLOUD)).toMatch(/^available \| away \| .*1 hosts not heard/);
  });

  it("publishes on change only", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    await ann.presence(`host-h1@${CLOUD}`, "subscribe");
    await until("it is shown", () => ann.last(`host-h1@${CLOUD}`) !== undefined);
    const { beats } = bed.host("h1");
    await until("ten heartbeats passed", () => bed.host("h1").beats > beats + 10);
    const shown = ann.presences.filter(({ from, type }) => from === `host-h1@${CLOUD}` && type === "");
    expect(shown.length).toBeLessThanOrEqual(2);
  });

  it("turns strangers away once, and is silent afterwards", async () => {
    const bed = await start({ config: WATCHERS });
    const mallory = await Person.online(bed.network, "mallory@alpha.test/x");
    for (let round = 0; round < 5; round += 1) await mallory.presence(CLOUD, "subscribe");
    await mallory.presence(`vm-${randomUUID()}@${CLOUD}`, "probe");
    await until("it is turned away", () => mallory.presences.length > 0);
    expect((await mallory.ask(new Element("ping", { xmlns: "urn:xmpp:ping" }))).kind).toBe("result");
    expect(mallory.presences.filter(({ from }) => from.endsWith(CLOUD)).map(({ type }) => type)).toEqual([
      "unsubscribed",
    ]);
    expect(bed.disk.records.size).toBe(0);
  });

  it("does not tell a watcher of another project that a VM exists", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    await bed.create({ name: "hidden" }, { key: "hidden" });
    const { id } = await bed.untilPhase("hidden", "running");
    const vic = await Person.online(bed.network, "vic@alpha.test/x");
    await vic.presence(`vm-${id}@${CLOUD}`, "subscribe");
    await vic.presence(`vm-${randomUUID()}@${CLOUD}`, "subscribe");
    await until("both are denied", () => vic.presences.filter(({ type }) => type === "unsubscribed").length === 2);
  });

  it("remembers watchers across managers, says goodbye, and ends what is not permitted any more", async () => {
    const [network, disk] = [newNetwork(), new MemoryDisk()];
    const first = await TestBed.start({ network, disk, config: WATCHERS });
    const ann = await Person.online(network, "ann@alpha.test/gajim");
    const vic = await Person.online(network, "vic@alpha.test/x");
    for (const person of [ann, vic]) {
      await person.presence(CLOUD, "subscribe");
      await until("it is shown", () => person.last(CLOUD)?.startsWith("available") === true);
    }
    await first.stop();
    await until("it said goodbye", () => ann.last(CLOUD) === "unavailable | - | the cluster manager stopped");
    const second = await start({ network, disk, config: { watchers: WATCHERS.watchers.slice(0, 1) } });
    await until("it is announced again", () => ann.last(CLOUD)?.startsWith("available") === true);
    await until("the other is let go", () => ![...second.disk.records.keys()].some((key) => key.includes("vic@")));
    await ann.presence(CLOUD, "unsubscribe");
    await until("nothing is kept", () => ![...disk.records.keys()].some((key) => key.startsWith("watch/")));
  });

  it("answers a probe of a subscriber with what it shows, and a vCard with a name", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    await ann.presence(`host-h1@${CLOUD}`, "subscribe");
    await until("it is shown", () => ann.last(`host-h1@${CLOUD}`) !== undefined);
    const before = ann.presences.length;
    await ann.presence(`host-h1@${CLOUD}`, "probe");
    await until("it is shown again", () => ann.presences.length > before);
    const card = await ann.ask(new Element("vCard", { xmlns: "vcard-temp" }), "get", `host-h1@${CLOUD}`);
    expect(card.kind === "result" && card.payload?.getChildText("FN")).toBe("Host h1");
    const mallory = await Person.online(bed.network, "mallory@alpha.test/x");
    expect(refusalOf(await mallory.ask(new Element("vCard", { xmlns: "vcard-temp" })))).toMatchObject({
      condition: "forbidden",
    });
  });
});
