import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RawStream } from "./testing/raw-stream.ts";
import { type TestSite, TestSites } from "./testing/test-sites.ts";

const PING = "<ping xmlns='urn:xmpp:ping'/>";
const ACCOUNT = "cloud-gamma.test";

let sites: TestSites;
let alpha: TestSite;
let account: RawStream;
let host: RawStream;
let component: RawStream;

beforeAll(async () => {
  sites = await TestSites.create();
  const accounts = ["host1", ACCOUNT].map((name) => ({ name, password: "one" }));
  alpha = await (await sites.site("alpha.test", "127.45.16.1", { peers: ["cloud.beta.test"], accounts })).start();
  [account, host, component] = await Promise.all([
    alpha.client(ACCOUNT, "one"),
    alpha.client("host1", "one"),
    alpha.component(),
  ]);
});

afterAll(() => sites.close());

describe("B5: the account as which a peer comes", () => {
  it("speaks with the component, and is spoken to by it", async () => {
    account.send(`<iq type='get' id='c1' to='${alpha.cloud}'>${PING}</iq>`);
    await component.until(/<iq[^>]*id='c1'[^>]*>/);
    component.send(`<iq type='result' id='c1' from='${alpha.cloud}' to='${ACCOUNT}@alpha.test/test'/>`);
    await account.until(/<iq[^>]*id='c1'[^>]*>/);
    component.send(`<iq type='get' id='c2' from='${alpha.cloud}' to='${ACCOUNT}@alpha.test/test'>${PING}</iq>`);
    await account.until(/<iq[^>]*id='c2'[^>]*>/);
    account.send(`<iq type='result' id='c2' to='${alpha.cloud}'/>`);
    await component.until(/<iq[^>]*id='c2'[^>]*>/);
  });

  it.each([
    "host1@alpha.test/test",
    "host1@alpha.test",
    "cm-a.alpha.test",
    "cloud.beta.test",
    "cloud-beta.test@alpha.test",
  ])("is refused to speak with %s", async (to) => {
    for (const stanza of [`<iq type='get' id='r' to='${to}'>${PING}</iq>`, `<message id='r' to='${to}'/>`]) {
      account.send(stanza);
      await account.until(/id='r'.*?<forbidden/);
    }
    account.send(`<presence id='r' to='${to}' type='subscribe'/>`);
    await account.until(/id='r'.*?<forbidden/);
    expect(host.text).not.toContain("gamma");
  });

  it("has a sign of life from its server, and neither roster nor presence for others", async () => {
    account.send(`<iq type='get' id='p1' to='alpha.test'>${PING}</iq>`);
    await account.until(/<iq[^>]*id='p1'[^>]*type='result'|<iq[^>]*type='result'[^>]*id='p1'/);
    account.send("<iq type='set' id='p2'><query xmlns='jabber:iq:roster'><item jid='host1@alpha.test'/></query></iq>");
    await account.until(/id='p2'.*?<forbidden/);
    account.send("<presence id='p3'/>");
    await account.until(/id='p3'.*?<forbidden/);
    account.send("<iq type='set' id='p4' to='alpha.test'><enrol xmlns='urn:muster:enrol:1' account='x'/></iq>");
    await account.until(/id='p4'.*?<forbidden/);
  });

  it("is reached by no other account", async () => {
    host.send(`<message to='${ACCOUNT}@alpha.test/test'><body>of the host</body></message>`);
    host.send(`<iq type='get' id='h1' to='${ACCOUNT}@alpha.test/test'>${PING}</iq>`);
    await host.until(/<iq[^>]*id='h1'.*?<service-unavailable/);
    component.send(`<message from='${alpha.cloud}' to='${ACCOUNT}@alpha.test/test'><body>from home</body></message>`);
    await account.until(/from home/);
    expect(account.text).not.toContain("of the host");
    expect(account.text).not.toContain("h1");
  });
});
