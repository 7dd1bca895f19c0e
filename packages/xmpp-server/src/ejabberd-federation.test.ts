import { join } from "node:path";
import { systemClock } from "@muster/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { certificateNames, type EjabberdServer, ensureAuthority, type SiteCertificate } from "./index.ts";
import { ejabberdIsMissing } from "./testing/ejabberd-present.ts";
import { linkComponent, type RawStream } from "./testing/raw-stream.ts";
import { must, SECRET, type SiteServer, type TestSite, TestSites } from "./testing/test-sites.ts";

const PING = "<ping xmlns='urn:xmpp:ping'/>";
const NAMES = [
  { address: "127.45.12.1", names: ["alpha.test", "cloud.alpha.test"] },
  { address: "127.45.12.2", names: ["beta.test", "cloud.beta.test"] },
  { address: "127.45.12.3", names: ["delta.test", "cloud.delta.test"] },
];
const ACCOUNTS = [
  { name: "host1", password: SECRET },
  { name: "away", password: SECRET },
  { name: "cloud-gamma.test", password: SECRET },
];
const missing = ejabberdIsMissing();

let sites: TestSites;
/** On Prosody. */
let alpha: TestSite;
/** On ejabberd. */
let beta: TestSite<EjabberdServer>;
let alphaTls: SiteCertificate;
let gammaTls: SiteCertificate;

describe.skipIf(missing !== undefined)(`a site on ejabberd${missing ?? ""}`, () => {
  beforeAll(async () => {
    sites = await TestSites.create();
    const peers = ["cloud.alpha.test", "cloud.delta.test"];
    alpha = await sites.site("alpha.test", "127.45.12.1", { peers: ["cloud.beta.test"], names: NAMES });
    beta = await sites.ejabberd("beta.test", "127.45.12.2", { peers, names: NAMES, accounts: ACCOUNTS });
    alphaTls = await sites.certificate("alpha.test/certs", certificateNames("alpha.test"));
    gammaTls = await sites.certificate("gamma.test/certs", certificateNames("gamma.test"));
    await Promise.all([alpha.start(), beta.start()]);
  }, 60_000);
  afterAll(() => sites.close());

  it("carries requests to and from a site on Prosody, component to component, certificates verified both ways", async () => {
    const [here, there] = await Promise.all([alpha.component(), beta.component()]);
    for (const [asker, answerer, from, to] of [
      [here, there, alpha.cloud, beta.cloud],
      [there, here, beta.cloud, alpha.cloud],
    ] as const) {
      asker.send(`<iq type='get' id='f1' from='broker@${from}' to='broker@${to}'>${PING}</iq>`);
      await answerer.until(/<iq[^>]*id=['"]f1['"][^>]*>/);
      answerer.send(`<iq type='result' id='f1' from='broker@${to}' to='broker@${from}'/>`);
      const [answer] = await asker.until(/<iq[^>]*id=['"]f1['"][^>]*>/);
      expect(answer).toMatch(new RegExp(`from=['"]broker@${to}['"]`));
      expect(answer).toMatch(/type=['"]result['"]/);
    }
    expect(await alpha.log()).not.toContain("dialback");
    here.close();
    there.close();
  });

  it("refuses a peer that another authority certified, in both directions", async () => {
    const authority = must(await ensureAuthority(join(sites.folder, "other-ca"), systemClock));
    const change = { peers: [beta.cloud], names: NAMES, authority };
    const delta = await (await sites.site("delta.test", "127.45.12.3", change)).start();
    const [here, there] = await Promise.all([beta.component(), delta.component()]);
    here.send(`<iq type='get' id='d1' from='${beta.cloud}' to='${delta.cloud}'>${PING}</iq>`);
    await here.until(/<iq[^>]*id=['"]d1['"].*<error/, 15_000);
    there.send(`<iq type='get' id='d2' from='${delta.cloud}' to='${beta.cloud}'>${PING}</iq>`);
    await there.until(/<iq[^>]*id='d2'.*<error/, 15_000);
    await marked(here);
    expect([here.text.includes("d2"), there.text.includes("d1")]).toEqual([false, false]);
    here.close();
    there.close();
    await delta.close();
  });

  it("B5: lets a peer reach its component and no account, no server address and no manager", async () => {
    const [component, manager, host] = await Promise.all([
      beta.component(),
      beta.component("cm-a.beta.test"),
      beta.client("host1", SECRET),
    ]);
    host.send("<presence/>");
    await host.until(/<presence[^>]*>/);
    const peer = await beta.peer(alpha.cloud, alphaTls);
    for (const to of ["host1@beta.test", "host1@beta.test/test", "cm-a.beta.test", "x@cm-a.beta.test", "beta.test"]) {
      peer.send(`<message from='${alpha.cloud}' to='${to}'><body>intruder</body></message>`);
      peer.send(`<presence from='intruder@${alpha.cloud}' to='${to}' type='subscribe'/>`);
      peer.send(`<iq type='set' id='intruder' from='${alpha.cloud}' to='${to}'>${list(["cloud.mallory.test"])}</iq>`);
    }
    peer.send(`<message from='${alpha.cloud}' to='${beta.cloud}'><body>allowed</body></message>`);
    await component.until(/allowed/);
    for (const [stream, to] of [
      [host, "host1@beta.test/test"],
      [manager, "cm-a.beta.test"],
    ] as const) {
      component.send(`<message from='${beta.cloud}' to='${to}'><body>from home</body></message>`);
      await stream.until(/from home/);
      expect(stream.text).not.toContain("intruder");
    }
    // A stream to the accounts' domain carries nothing either.
    const direct = await beta.peer(alpha.cloud, alphaTls, "beta.test");
    direct.send(`<message from='${alpha.cloud}' to='host1@beta.test/test'><body>intruder</body></message>`);
    direct.send(`<message from='${alpha.cloud}' to='${beta.cloud}'><body>second way</body></message>`);
    await Promise.race([component.until(/second way/), direct.untilClosed()]);
    await marked(component);
    expect(host.text).not.toContain("intruder");
    for (const stream of [component, manager, host, peer, direct]) stream.close();
  });

  it("B5: lets an account as which a peer comes speak with its component, and with nobody else", async () => {
    const [component, host, account] = await Promise.all([
      beta.component(),
      beta.client("host1", SECRET),
      beta.client("cloud-gamma.test", SECRET),
    ]);
    for (const [index, to] of ["host1@beta.test/test", "cm-a.beta.test", alpha.cloud].entries()) {
      account.send(`<iq type='get' id='n${index}' to='${to}'>${PING}</iq>`);
      await account.until(new RegExp(`<iq[^>]*id=['"]n${index}['"].*<forbidden`));
    }
    account.send("<message to='host1@beta.test/test'><body>of the peer</body></message>");
    host.send("<message to='cloud-gamma.test@beta.test/test'><body>of the host</body></message>");
    account.send(`<iq type='get' id='n8' to='beta.test'>${PING}</iq>`);
    await account.until(/<iq[^>]*id=['"]n8['"]/);
    account.send(`<iq type='get' id='n9' to='${beta.cloud}'>${PING}</iq>`);
    await component.until(/<iq[^>]*id=['"]n9['"]/);
    for (const [stream, to, other] of [
      [host, "host1@beta.test/test", "of the peer"],
      [account, "cloud-gamma.test@beta.test/test", "of the host"],
    ] as const) {
      component.send(`<message from='${beta.cloud}' to='${to}'><body>from home</body></message>`);
      await stream.until(/from home/);
      expect(stream.text).not.toContain(other);
    }
    for (const stream of [component, host, account]) stream.close();
  });

  it("keeps nothing for an account that is away: whoever speaks to it is told", async () => {
    const component = await beta.component();
    component.send(`<message id='o1' from='${beta.cloud}' to='away@beta.test'><body>old news</body></message>`);
    await component.until(/<message[^>]*id=['"]o1['"][^>]*>.*service-unavailable/);
    const away = await beta.client("away", SECRET);
    away.send("<presence/>");
    component.send(`<message from='${beta.cloud}' to='away@beta.test/test'><body>new</body></message>`);
    await away.until(/new</);
    expect(away.text).not.toContain("old news");
    component.close();
    away.close();
  });

  it("B5: lets in whom its leader names, at run time, and nobody else with a good certificate", async () => {
    const here = await beta.component();
    expect(await heardFromGamma(here)).toBe(false);
    await set(here, beta, ["cloud.alpha.test", "cloud.gamma.test"]);
    const stream = await beta.peer("cloud.gamma.test", gammaTls);
    stream.send(`<message from='cloud.gamma.test' to='${beta.cloud}'><body>let in</body></message>`);
    await here.until(/let in/);
    await set(here, beta, ["cloud.alpha.test"]);
    // The stream is open still: what comes on it is dropped.
    stream.send(`<message from='cloud.gamma.test' to='${beta.cloud}'><body>gamma speaks</body></message>`);
    expect(await heardFromGamma(here)).toBe(false);
    here.send(`<iq type='get' id='g9' from='${beta.cloud}' to='cloud.gamma.test'>${PING}</iq>`);
    await here.until(/<iq[^>]*id=['"]g9['"].*<error/);
    here.close();
    stream.close();
  });

  it("S1: takes its list of peers from its leader alone, and no list with something that is no domain", async () => {
    const host = await beta.client("host1", SECRET);
    host.send(`<iq type='set' id='h' to='beta.test'>${list(["cloud.mallory.test"])}</iq>`);
    await host.until(/<iq[^>]*id=['"]h['"].*forbidden/);
    const here = await beta.component();
    for (const name of ["", "a b", "x@cloud.beta.test", "cloud.beta.test/r", "CLOUD.beta.test"]) {
      here.send(`<iq type='set' id='b${name.length}' from='${beta.cloud}' to='beta.test'>${list([name])}</iq>`);
      await here.until(new RegExp(`<iq[^>]*id=['"]b${name.length}['"].*bad-request`));
    }
    const many = Array.from({ length: 2_001 }, (_, index) => `c${index}.test`);
    here.send(`<iq type='set' id='many' from='${beta.cloud}' to='beta.test'>${list(many)}</iq>`);
    await here.until(/<iq[^>]*id=['"]many['"].*resource-constraint/);
    here.close();
    host.close();
  });

  it("gives a component's address to who links last, also when the one before hangs, and shares it with nobody", async () => {
    const [old, prober] = await Promise.all([beta.component(), beta.component("cm-a.beta.test")]);
    old.hang();
    const told = await beta.component();
    const winner = await beta.component();
    await told.until(/<conflict/);
    await told.untilClosed();
    for (let count = 0; count < 12; count += 1) {
      prober.send(`<iq type='get' id='a${count}' from='cm-a.beta.test' to='${beta.cloud}'>${PING}</iq>`);
      await winner.until(new RegExp(`<iq[^>]*id=['"]a${count}['"]`));
    }
    for (const stream of [old, told, winner, prober]) stream.close();
    await expect(linkComponent(beta.target(5347), beta.cloud, "a guess")).rejects.toThrow(/not-authorized/);
  });

  it("S2: closes the stream of a component or a client that sends a stanza beyond the bound", async () => {
    const [component, host] = await Promise.all([beta.component(), beta.client("host1", SECRET)]);
    host.send(`<message to='${beta.cloud}'><body>${"x".repeat(300_000)}</body></message>`);
    await host.untilClosed();
    component.send(`<message from='${beta.cloud}' to='beta.test'><body>${"x".repeat(600_000)}</body></message>`);
    await component.untilClosed();
  });
});

function list(peers: readonly string[]): string {
  return `<peers xmlns='urn:muster:peers:1'>${peers.map((peer) => `<peer>${peer}</peer>`).join("")}</peers>`;
}

async function set(stream: RawStream, site: TestSite<SiteServer>, peers: readonly string[]): Promise<void> {
  const id = `set${peers.join("-")}`;
  stream.send(`<iq type='set' id='${id}' from='${site.cloud}' to='${site.site.domain}'>${list(peers)}</iq>`);
  const [answer] = await stream.until(new RegExp(`<iq[^>]*id=['"]${id}['"][^>]*>`));
  expect(answer).toMatch(/type=['"]result['"]/);
}

/** Whether a message of gamma, with its good certificate, comes through to the component. */
async function heardFromGamma(component: RawStream): Promise<boolean> {
  const stream = await beta.peer("cloud.gamma.test", gammaTls).catch(() => undefined);
  stream?.send(`<message from='cloud.gamma.test' to='${beta.cloud}'><body>gamma speaks</body></message>`);
  stream?.send("</stream:stream>");
  await stream?.untilClosed();
  await marked(component);
  return component.text.includes("gamma speaks");
}

let marks = 0;

/** Passes a stanza through the server to the component: whatever the server had for it before has arrived then. */
async function marked(component: RawStream): Promise<void> {
  marks += 1;
  component.send(`<iq type='get' id='mark${marks}' from='${beta.cloud}' to='beta.test'>${PING}</iq>`);
  await component.until(new RegExp(`<iq[^>]*id=['"]mark${marks}['"][^>]*>`));
}
