import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "@muster/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { certificateNames, ensureAuthority, type SiteCertificate, siteFiles } from "./index.ts";
import { RawStream } from "./testing/raw-stream.ts";
import { must, type TestSite, TestSites } from "./testing/test-sites.ts";

const PING = "<ping xmlns='urn:xmpp:ping'/>";
const NAMES = [
  { address: "127.0.31.1", names: ["alpha.test", "cloud.alpha.test"] },
  { address: "127.0.31.2", names: ["beta.test", "cloud.beta.test"] },
];
const GAMMA = { address: "127.0.31.3", names: ["gamma.example", "cloud.gamma.example"] };
const DELTA = { address: "127.0.31.4", names: ["delta.test", "cloud.delta.test"] };

let sites: TestSites;
let alpha: TestSite;
let beta: TestSite;
let betaTls: SiteCertificate;

beforeAll(async () => {
  sites = await TestSites.create();
  const accounts = [
    { name: "host1", password: "one" },
    { name: "away", password: "two" },
  ];
  // Delta is a peer by name, but certified by an authority of its own.
  const peers = ["cloud.beta.test", "cloud.delta.test"];
  alpha = await sites.site("alpha.test", "127.0.31.1", { peers, names: [...NAMES, DELTA], accounts });
  beta = await sites.site("beta.test", "127.0.31.2", { peers: ["cloud.alpha.test"], names: NAMES });
  betaTls = await sites.certificate("beta.test/certs", certificateNames("beta.test"));
  await Promise.all([alpha.start(), beta.start()]);
});

afterAll(() => sites.close());

describe("two federated sites", () => {
  it("carry requests from component to component, both ways, over verified TLS", async () => {
    const [here, there] = await Promise.all([alpha.component(), beta.component()]);
    for (const [asker, answerer, from, to] of [
      [here, there, alpha.cloud, beta.cloud],
      [there, here, beta.cloud, alpha.cloud],
    ] as const) {
      asker.send(`<iq type='get' id='f1' from='broker@${from}' to='broker@${to}'>${PING}</iq>`);
      await answerer.until(/<iq[^>]*id=['"]f1['"][^>]*>/);
      answerer.send(`<iq type='result' id='f1' from='broker@${to}' to='broker@${from}'/>`);
      const [answer] = await asker.until(/<iq[^>]*id=['"]f1['"][^>]*>/);
      expect(answer).toContain(`from='broker@${to}'`);
      expect(answer).toContain("type='result'");
    }
    for (const site of [alpha, beta]) {
      const log = await site.log();
      expect(log).toMatch(/Incoming s2s connection \S+ complete/i);
      expect(log).toMatch(/Stream encrypted \(TLSv1\.[23]/);
      expect(log).not.toContain("dialback");
    }
    here.close();
    there.close();
  });

  it("answer at once for a name that the hosts file does not have", async () => {
    const component = await alpha.component();
    must(await alpha.server.reload({ peers: [...alpha.site.peers, "cloud.nowhere.example"] }));
    component.send(`<iq type='get' id='n1' from='${alpha.cloud}' to='cloud.nowhere.example'>${PING}</iq>`);
    await component.until(/id='n1'.*remote-server-not-found/, 2_000);
    must(await alpha.server.reload({ peers: alpha.site.peers }));
    component.close();
  });
});

describe("an encrypted stream is required", () => {
  it("of clients: no way to log in or to register is offered or taken before TLS", async () => {
    const stream = await RawStream.overTcp(alpha.target(5222));
    const header = "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'";
    stream.send(`<stream:stream xmlns='jabber:client' ${header} to='alpha.test'>`);
    const [features] = await stream.until(/<stream:features>.*<\/stream:features>/);
    expect(features).toMatch(/<starttls[^>]*><required\/>/);
    expect(features).not.toContain("mechanism");
    expect(features).not.toContain("register");
    const plain = Buffer.from("\0host1\0one").toString("base64");
    stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`);
    await stream.until(/<failure[^>]*>|<stream:error>/);
    expect(stream.text).not.toContain("<success");
    stream.close();
  });

  it("of peers: a stream without TLS carries nothing", async () => {
    const component = await alpha.component();
    const stream = await RawStream.overTcp(alpha.target(5269));
    const header = "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'";
    stream.send(`<stream:stream xmlns='jabber:server' ${header} from='${beta.cloud}' to='${alpha.cloud}'>`);
    const [features] = await stream.until(/<stream:features>.*<\/stream:features>/);
    expect(features).toMatch(/<starttls[^>]*><required\/>/);
    expect(features).not.toContain("EXTERNAL");
    stream.send(`<message from='${beta.cloud}' to='${alpha.cloud}'><body>plain</body></message></stream:stream>`);
    await stream.until(/<\/stream:stream>/);
    await marked(component);
    expect(component.text).not.toContain("plain");
    component.close();
  });

  it("with a certificate for the domain: a client that trusts our authority alone is satisfied, any other is not", async () => {
    const { ca } = alpha.target(5223);
    const options = { host: alpha.site.address, port: 5223 };
    (await RawStream.overTls({ ...options, ca, servername: "alpha.test" })).close();
    await expect(RawStream.overTls({ ...options, ca, servername: "beta.test" })).rejects.toThrow(
      /unrecognized name|altnames/,
    );
    await expect(RawStream.overTls({ ...options, servername: "alpha.test" })).rejects.toThrow(/certificate/);
  });
});

describe("strangers and forgers", () => {
  it("a peer certified by another authority is refused, in both directions", async () => {
    const other = must(await ensureAuthority(join(sites.folder, "other-ca"), systemClock));
    const delta = await sites.site("delta.test", DELTA.address, {
      peers: [alpha.cloud],
      names: [...NAMES, DELTA],
      authority: other,
    });
    await delta.start();
    const [here, there] = await Promise.all([alpha.component(), delta.component()]);
    here.send(`<iq type='get' id='d1' from='${alpha.cloud}' to='${delta.cloud}'>${PING}</iq>`);
    await here.until(/<iq[^>]*id='d1'.*<error.*not trusted/);
    there.send(`<iq type='get' id='d2' from='${delta.cloud}' to='${alpha.cloud}'>${PING}</iq>`);
    await there.until(/<iq[^>]*id='d2'.*<error/);
    await marked(here);
    expect(here.text).not.toContain("id='d2'");
    expect(there.text).not.toContain("id='d1'");
    here.close();
    await delta.close();
  });

  it("a peer that calls itself something else than its certificate says is refused", async () => {
    const certificate = await sites.certificate("epsilon", ["cloud.epsilon.test"]);
    await expect(alpha.peer(beta.cloud, certificate)).rejects.toThrow(/not valid for this name/);
  });

  it("an authenticated peer that forges `from` is cut off and the stanza goes nowhere", async () => {
    const component = await alpha.component();
    for (const from of ["broker@cloud.gamma.test", "host1@alpha.test", `broker@${alpha.cloud}`]) {
      const peer = await alpha.peer(beta.cloud, betaTls);
      peer.send(`<message from='${from}' to='${alpha.cloud}'><body>forged</body></message>`);
      await peer.until(/<stream:error>.*not-authorized/);
      await peer.untilClosed();
    }
    await marked(component);
    expect(component.text).not.toContain("forged");
    component.close();
  });

  it("a certified domain without a peering is refused in both directions, until there is one", async () => {
    const names = [...NAMES, GAMMA];
    const gamma = await (await sites.site("gamma.example", GAMMA.address, { peers: [alpha.cloud], names })).start();
    const [here, there] = await Promise.all([alpha.component(), gamma.component()]);

    here.send(`<iq type='get' id='g1' from='${alpha.cloud}' to='${gamma.cloud}'>${PING}</iq>`);
    await here.until(/<iq[^>]*id='g1'.*<not-allowed.*is not a peer of this site/);
    there.send(`<iq type='get' id='g2' from='${gamma.cloud}' to='${alpha.cloud}'>${PING}</iq>`);
    await there.until(/<iq[^>]*id='g2'.*<error/);
    await marked(here);
    expect(here.text).not.toContain("id='g2'");
    expect(there.text).not.toContain("id='g1'");

    must(await alpha.server.reload({ peers: [...alpha.site.peers, gamma.cloud], names }));
    here.send(`<iq type='get' id='g3' from='${alpha.cloud}' to='${gamma.cloud}'>${PING}</iq>`);
    await there.until(/<iq[^>]*id='g3'/);
    there.send(`<iq type='get' id='g4' from='${gamma.cloud}' to='${alpha.cloud}'>${PING}</iq>`);
    await here.until(/<iq[^>]*id='g4'/);

    must(await alpha.server.reload({ peers: alpha.site.peers, names: alpha.site.names ?? [] }));
    there.send(`<iq type='get' id='g5' from='${gamma.cloud}' to='${alpha.cloud}'>${PING}</iq>`);
    await there.until(/<iq[^>]*id='g5'.*<error/);
    await marked(here);
    expect(here.text).not.toContain("id='g5'");
    here.close();
    await gamma.close();
  });
});

describe("accounts are out of reach of peers", () => {
  it("and peers out of reach of accounts", async () => {
    const [host, there] = await Promise.all([alpha.client("host1", "one"), beta.component()]);
    host.send(`<iq type='get' id='h1' to='${beta.cloud}'>${PING}</iq>`);
    await host.until(/<iq[^>]*id='h1'.*<not-allowed/);
    expect(there.text).not.toContain("id='h1'");
    host.close();
    there.close();
  });

  it("nothing that a peer sends reaches an account that is online, its host, or a manager's component", async () => {
    const [component, manager, host] = await Promise.all([
      alpha.component(),
      alpha.component("cm-a.alpha.test"),
      alpha.client("host1", "one"),
    ]);
    host.send("<presence/>");
    await host.until(/<presence[^>]*>/);
    const peer = await alpha.peer(beta.cloud, betaTls);
    for (const to of ["host1@alpha.test", "host1@alpha.test/test", "cm-a.alpha.test", "x@cm-a.alpha.test"]) {
      peer.send(`<message from='${beta.cloud}' to='${to}'><body>intruder</body></message>`);
      peer.send(`<presence from='intruder@${beta.cloud}' to='${to}' type='subscribe'/>`);
      peer.send(`<iq type='get' id='intruder' from='${beta.cloud}' to='${to}'>${PING}</iq>`);
    }
    const enrol = "<enrol xmlns='urn:muster:enrol:1' account='intruder'/>";
    peer.send(`<iq type='set' id='intruder' from='${beta.cloud}' to='alpha.test'>${enrol}</iq>`);
    peer.send(`<message from='${beta.cloud}' to='${alpha.cloud}'><body>allowed</body></message>`);
    // The same stream in order: once this one is here, the others were dealt with.
    await component.until(/allowed/);
    for (const [stream, to] of [
      [host, "host1@alpha.test/test"],
      [manager, "cm-a.alpha.test"],
    ] as const) {
      component.send(`<message from='${alpha.cloud}' to='${to}'><body>from home</body></message>`);
      await stream.until(/from home/);
      expect(stream.text).not.toContain("intruder");
    }
    expect(await alpha.log()).toContain("other sites reach the component only");
    expect(await alpha.log()).not.toContain("token for intruder");
    peer.close();
    component.close();
    manager.close();
    host.close();
  });

  it("nothing that a peer sends is kept for an account that is offline", async () => {
    const component = await alpha.component();
    const peer = await alpha.peer(beta.cloud, betaTls);
    peer.send(`<message from='${beta.cloud}' to='away@alpha.test'><body>intruder</body></message>`);
    peer.send(`<message from='${beta.cloud}' to='${alpha.cloud}'><body>allowed</body></message>`);
    await component.until(/allowed/);
    const stored = await readdir(siteFiles(alpha.site.folder).data, { recursive: true });
    expect(stored.filter((path) => /offline\/away/.test(path))).toEqual([]);
    // The same from home is kept: the absence above means something.
    component.send(`<message from='${alpha.cloud}' to='away@alpha.test'><body>from home</body></message>`);
    await marked(component);
    const kept = await readdir(siteFiles(alpha.site.folder).data, { recursive: true });
    expect(kept.filter((path) => /offline\/away/.test(path))).not.toEqual([]);
    const away = await alpha.client("away", "two");
    away.send("<presence/>");
    await away.until(/from home/);
    expect(away.text).not.toContain("intruder");
    peer.close();
    component.close();
    away.close();
  });

  it("a peer cannot open a stream to the accounts' domain", async () => {
    await expect(alpha.peer(beta.cloud, betaTls, "alpha.test")).rejects.toThrow(/policy-violation/);
  });
});

/** Passes a stanza through the server to the component: whatever the server had for it before has arrived then. */
async function marked(component: RawStream): Promise<void> {
  component.send(`<iq type='get' id='mark' from='${alpha.cloud}' to='alpha.test'>${PING}</iq>`);
  await component.until(/<iq[^>]*id='mark'[^>]*>/);
}
