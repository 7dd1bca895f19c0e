import { randomUUID } from "node:crypto";
import { generateSiteKey, signBurst } from "@muster/broker";
import {
  capacityMessage,
  type HostVm,
  holdMessage,
  leaseNoticeMessage,
  NS_BURST,
  NS_CAPACITY,
  noticesMessage,
  noticesTakenMessage,
  offerMessage,
  offerQueryMessage,
  refusal,
  refusalMessage,
} from "@muster/protocol";
import type { Bus, IncomingStanza, IqOutcome, MemoryNetwork } from "@muster/xmpp";
import * as fc from "fast-check";
import { Element } from "ltx";
import { afterEach, describe, expect, it } from "vitest";
import { newNetwork, TestBed, until } from "../leadership/test-bed.fixture.ts";
import { MemoryDisk } from "../store/memory-store.ts";

const CLOUD = "cloud.alpha.test";
const WATCHERS = {
  watchers: [
    { jid: "ann@alpha.test", role: "admin" },
    { jid: "vic@alpha.test", role: "viewer", projects: ["elsewhere"] },
  ],
};

const beds: TestBed[] = [];
const buses: Bus[] = [];
afterEach(async () => {
  for (const bed of beds.splice(0)) await bed.stop();
  for (const bus of buses.splice(0)) await bus.stop();
});

async function start(options: Parameters<typeof TestBed.start>[0] = {}): Promise<TestBed> {
  const bed = await TestBed.start(options);
  beds.push(bed);
  return bed;
}

/** An ordinary account, online. */
class Person {
  readonly bus: Bus;
  readonly presences: IncomingStanza[] = [];
  readonly chat: string[] = [];

  private constructor(bus: Bus) {
    this.bus = bus;
    bus.onPresence((presence) => void this.presences.push(presence));
    bus.onMessage(({ stanza }) => void this.chat.push(stanza.getChildText("body") ?? ""));
  }

  static async online(network: MemoryNetwork, address: string): Promise<Person> {
    const bus = address.includes("@") ? network.client(address) : network.component(address);
    buses.push(bus);
    const person = new Person(bus);
    bus.start();
    await until(`${address} is online`, () => bus.status.kind === "online");
    if (address.includes("@")) await bus.send(new Element("presence"));
    return person;
  }

  presence(to: string, type: string): Promise<unknown> {
    return this.bus.send(new Element("presence", { to, type }));
  }

  async say(text: string): Promise<string> {
    const before = this.chat.length;
    const message = new Element("message", { to: CLOUD, type: "chat" });
    message.c("body").t(text);
    await this.bus.send(message);
    await until(`an answer to ${text}`, () => this.chat.length > before);
    return this.chat.at(-1) ?? "";
  }

  ask(payload: Element, type: "get" | "set" = "get", to = CLOUD, from?: string): Promise<IqOutcome> {
    return this.bus.request({ to, type, payload, timeoutMs: 3_000, ...(from === undefined ? {} : { from }) });
  }

  /** What a contact was last seen to be: type, show and status. */
  last(from: string): string | undefined {
    const seen = this.presences.filter((presence) => presence.from === from).at(-1);
    if (seen === undefined) return undefined;
    const { type, stanza } = seen;
    return [type || "available", stanza.getChildText("show") ?? "-", stanza.getChildText("status") ?? "-"].join(" | ");
  }
}

function refusalOf(outcome: IqOutcome): unknown {
  if (outcome.kind !== "error" || outcome.fault.application === undefined) return outcome;
  const decoded = refusalMessage.decode(outcome.fault.application);
  return decoded.ok ? { condition: outcome.fault.condition, ...decoded.value } : decoded.error;
}

describe("hosts", () => {
  it("S1: capacity counts only from accounts of hosts that are let in", async () => {
    const bed = await start({ hosts: ["h1"] });
    const stranger = await Person.online(bed.network, "host-h9@alpha.test/muster");
    await stranger.bus.send(bed.host("h1").presence({ ...bed.host("h1").capacity(), vms: 99 }));
    const user = await Person.online(bed.network, "mallory@alpha.test/muster");
    await user.bus.send(bed.host("h1").presence({ ...bed.host("h1").capacity(), vms: 98 }));
    const foreign = await Person.online(bed.network, "host-h1@evil.test/muster");
    await foreign.bus.send(bed.host("h1").presence({ ...bed.host("h1").capacity(), vms: 97 }));
    await until("it is logged", () =>
      bed.log.some((line) => line.includes("host-h9@alpha.test") && line.includes("not let in")),
    );
    expect((await bed.get("/v1/hosts")).body.items).toMatchObject([{ name: "h1", vms: 0 }]);
    expect(bed.log.filter((line) => line.includes("host-h9@alpha.test"))).toHaveLength(1);
  });

  it("S1: capacity that cannot be read changes nothing", async () => {
    const bed = await start({ hosts: ["h1"] });
    const presence = bed.host("h1").presence(bed.host("h1").capacity());
    presence.getChild("capacity")?.getChild("total")?.remove("x");
    const total = presence.getChild("capacity")?.getChild("total");
    if (total !== undefined) total.attrs.vcpus = "-5";
    await bed.host("h1").bus.send(presence);
    await until("it is logged", () => bed.log.some((line) => line.includes("total.vcpus")));
    expect((await bed.get("/v1/hosts/h1")).body).toMatchObject({ total: { vcpus: 64 } });
  });

  it("forbids notices of who is no host, names the field of bad ones, and takes good ones", async () => {
    const bed = await start({ hosts: ["h1"] });
    const state: HostVm = { vm: "01890000-0000-7000-8000-000000000000", attempt: 1, state: "running" };
    const notices = () =>
      noticesMessage.encode({ bootId: bed.host("h1").bootId, notices: [{ ...state, sequence: 7 }] });
    const mallory = await Person.online(bed.network, "mallory@alpha.test/x");
    expect(refusalOf(await mallory.ask(notices(), "set"))).toMatchObject({
      condition: "forbidden",
      reason: "not-a-host",
    });
    const { bus } = bed.host("h1");
    const bad = notices();
    const [notice] = bad.getChildElements();
    if (notice !== undefined) notice.attrs.sequence = "soon";
    const refused = await bus.request({ to: CLOUD, type: "set", payload: bad, timeoutMs: 3_000 });
    expect(refusalOf(refused)).toMatchObject({ condition: "bad-request", field: "notices[0].sequence" });
    const taken = await bus.request({ to: CLOUD, type: "set", payload: notices(), timeoutMs: 3_000 });
    expect(
      taken.kind === "result" && taken.payload !== undefined && noticesTakenMessage.decode(taken.payload),
    ).toMatchObject({
      ok: true,
      value: { sequence: 7 },
    });
  });

  it("another host's word about this host's VM changes nothing", async () => {
    const bed = await start({ hosts: ["h1", "h2"] });
    await bed.create({ name: "mine" }, { key: "mine" });
    const vm = await bed.untilPhase("mine", "running");
    const here = String(vm.place?.host);
    const other = here === "h1" ? "h2" : "h1";
    const gone: HostVm = { vm: String(vm.id), attempt: 1, state: "gone" };
    const payload = noticesMessage.encode({ bootId: bed.host(other).bootId, notices: [{ ...gone, sequence: 1 }] });
    await bed.host(other).bus.request({ to: CLOUD, type: "set", payload, timeoutMs: 3_000 });
    expect((await bed.get("/v1/vms/mine")).body).toMatchObject({ phase: "running", place: { host: here } });
  });

  it("H1: lives with a host that refuses its term: the VM does not run there", async () => {
    const bed = await start({ hosts: ["h1"] });
    bed.host("h1").refusal = refusal("stale-term", "stale-term", "this host obeys term 99");
    await bed.create({ name: "late" }, { key: "late" });
    await until("the host was asked", () => bed.host("h1").commands.length > 0);
    expect(String((await bed.get("/v1/vms/late")).body.phase)).not.toBe("running");
    expect(bed.ends).toEqual([]);
    bed.host("h1").refusal = undefined;
    await bed.untilPhase("late", "running");
  });

  it("takes no word of another session of a host for the host's own end", async () => {
    const bed = await start({ hosts: ["h1"] });
    const twin = await Person.online(bed.network, "host-h1@alpha.test/twin");
    await twin.presence(CLOUD, "unavailable");
    expect((await twin.ask(new Element("ping", { xmlns: "urn:xmpp:ping" }))).kind).toBe("result");
    expect((await bed.get("/v1/hosts/h1")).body).toMatchObject({ liveness: "alive" });
    await bed.host("h1").stop();
    await until("h1 is not alive", async () => String((await bed.get("/v1/hosts/h1")).body.liveness) !== "alive");
  });

  it("shows a host that fell silent as suspect, then lost", async () => {
    const bed = await start({ hosts: ["h1", "h2"] });
    bed.host("h2").hush();
    await until("h2 is lost", async () => String((await bed.get("/v1/hosts/h2")).body.liveness) === "lost");
    expect((await bed.get("/v1/hosts/h1")).body).toMatchObject({ liveness: "alive" });
  });
});

describe("roster and presence", () => {
  it("lets a permitted account watch site, hosts and VMs through a VM's life", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    for (const contact of [CLOUD, `host-h1@${CLOUD}`, `broker@${CLOUD}`]) await ann.presence(contact, "subscribe");
    await until("all are shown", () => ann.last(`broker@${CLOUD}`)?.startsWith("available") === true);
    expect(ann.presences.find(({ from, type }) => from === CLOUD && type === "subscribed")).toBeDefined();
    expect(ann.last(CLOUD)).toBe("available | - | 64/64 vCPU free, 0 VMs, 0 queued");
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
    await until("the site has less", () => ann.last(CLOUD) === "available | - | 62/64 vCPU free, 1 VM, 0 queued");
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

describe("words", () => {
  it("answers in chat and by ad-hoc command alike", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    expect(await ann.say("help")).toContain("drain <host>");
    expect(await ann.say("status")).toContain("64 of 64 vCPU free; hosts: 1 alive");
    expect(await ann.say("hosts")).toContain("h1");
    expect(await ann.say("queue")).toBe("none");
    expect(await ann.say("peers")).toBe("none");
    expect(await ann.say("create chatty debian-12 2 1024 10")).toBe("chatty is accepted");
    await bed.untilPhase("chatty", "running");
    expect(await ann.say("vms")).toContain("chatty");
    expect(await ann.say("why chatty")).toContain("h1");
    expect(await ann.say("create broken debian-12 0 1024 10")).toContain("spec.vcpus");
    const command = new Element("command", {
      xmlns: "http://jabber.org/protocol/commands",
      node: "status",
      action: "execute",
    });
    const answer = await ann.ask(command, "set");
    expect(answer.kind === "result" && answer.payload?.getChildText("note")).toContain("62 of 64 vCPU free");
  });

  it("asks for a code before it destroys, and takes no code of another act or person", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    for (const name of ["one", "two"]) await bed.create({ name }, { key: name });
    await bed.untilPhase("one", "running");
    await bed.untilPhase("two", "running");
    const code = async (word: string): Promise<string> => /(\d{4})$/.exec(await ann.say(word))?.[1] ?? "none";
    const ofTwo = await code("delete two");
    const ofOne = await code("delete one");
    if (ofTwo !== ofOne) expect(await ann.say(`delete one ${ofTwo}`)).toContain("That code does not fit");
    expect((await bed.get("/v1/vms/one")).body).toMatchObject({ wanted: "running" });
    expect(await ann.say(`delete one ${ofOne}`)).toBe("delete of one is stored");
    await bed.untilPhase(String((await bed.get("/v1/vms?name=one")).body.items?.[0]?.id), "deleted");
    const vic = await Person.online(bed.network, "vic@alpha.test/x");
    expect(await vic.say(`delete two ${ofTwo}`)).toContain("may not use delete");
    expect((await bed.get("/v1/vms/two")).body).toMatchObject({ phase: "running" });
  });

  it("says features, version and, to watchers only, contacts", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    const mallory = await Person.online(bed.network, "mallory@alpha.test/x");
    const info = await ann.ask(new Element("query", { xmlns: "http://jabber.org/protocol/disco#info" }));
    expect(info.kind === "result" && info.payload?.toString()).toContain(`var="${NS_BURST}"`);
    const version = await ann.ask(new Element("query", { xmlns: "jabber:iq:version" }));
    expect(version.kind === "result" && version.payload?.getChildText("version")).toBe("0.0.0-test");
    const items = () => new Element("query", { xmlns: "http://jabber.org/protocol/disco#items" });
    const seen = await ann.ask(items());
    expect(seen.kind === "result" && seen.payload?.toString()).toContain(`host-h1@${CLOUD}`);
    const hidden = await mallory.ask(items());
    expect(hidden.kind === "result" && hidden.payload?.getChildElements()).toEqual([]);
  });
});

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

describe("garbage", () => {
  it("S1: whatever element arrives is answered with an error and changes nothing", async () => {
    const bed = await start({
      hosts: ["h1"],
      peers: [{ domain: "beta.test", publicKey: generateSiteKey().publicKey }],
    });
    const beta = await Person.online(bed.network, "cloud.beta.test");
    const host = bed.host("h1").bus;
    const before = [...bed.disk.records.keys()];
    const names = ["notices", "hold", "lease", "renew", "release", "pull", "offer-query", "command", "query"];
    const spaces = ["urn:muster:notice:1", NS_BURST, "urn:muster:command:1", "http://jabber.org/protocol/commands"];
    const plain = fc.string({ unit: "grapheme-ascii", maxLength: 30 });
    const attributes = fc.dictionary(fc.stringMatching(/^[a-z-]{1,8}$/), plain, { maxKeys: 5 });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.constantFrom(...spaces),
        attributes,
        plain,
        async (name, xmlns, attrs, text) => {
          const payload = () => new Element(name, { ...attrs, xmlns }).t(text);
          for (const type of ["get", "set"] as const) {
            expect((await beta.ask(payload(), type, CLOUD, "cloud.beta.test")).kind).toBe("error");
            expect((await host.request({ to: CLOUD, type, payload: payload(), timeoutMs: 3_000 })).kind).toBe("error");
          }
        },
      ),
      { numRuns: 60 },
    );
    expect([...bed.disk.records.keys()]).toEqual(before);
    expect(bed.ends).toEqual([]);
  });
});
