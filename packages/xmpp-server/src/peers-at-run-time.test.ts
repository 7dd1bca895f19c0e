import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { certificateNames, type SiteCertificate } from "./index.ts";
import type { RawStream } from "./testing/raw-stream.ts";
import { must, type TestSite, TestSites } from "./testing/test-sites.ts";

const NAMES = [
  { address: "127.55.31.1", names: ["alpha.test", "cloud.alpha.test"] },
  { address: "127.55.31.2", names: ["beta.test", "cloud.beta.test"] },
];
const PING = "<ping xmlns='urn:xmpp:ping'/>";

let sites: TestSites;
let alpha: TestSite;
let beta: TestSite;
let gammaTls: SiteCertificate;

beforeAll(async () => {
  sites = await TestSites.create();
  const accounts = [{ name: "host1", password: "one" }];
  alpha = await sites.site("alpha.test", "127.55.31.1", { names: NAMES, accounts });
  beta = await sites.site("beta.test", "127.55.31.2", { names: NAMES });
  gammaTls = await sites.certificate("gamma.test/certs", certificateNames("gamma.test"));
  await Promise.all([alpha.start(), beta.start()]);
});

afterAll(() => sites.close());

describe("the list of peers that the leader sets", () => {
  it("lets two sites speak that no configuration names, and closes their streams when it says so", async () => {
    const [here, there] = await Promise.all([alpha.component(), beta.component()]);
    here.send(`<iq type='get' id='p1' from='${alpha.cloud}' to='${beta.cloud}'>${PING}</iq>`);
    await here.until(/<iq[^>]*id='p1'.*not-allowed/);
    await set(here, alpha, [beta.cloud]);
    await set(there, beta, [alpha.cloud]);
    here.send(`<iq type='get' id='p2' from='${alpha.cloud}' to='${beta.cloud}'>${PING}</iq>`);
    await there.until(/<iq[^>]*id=['"]p2['"]/);
    there.send(`<iq type='result' id='p2' from='${beta.cloud}' to='${alpha.cloud}'/>`);
    await here.until(/<iq[^>]*id=['"]p2['"][^>]*type='result'|<iq[^>]*type='result'[^>]*id=['"]p2['"]/);
    await set(here, alpha, []);
    there.send(`<iq type='get' id='p3' from='${beta.cloud}' to='${alpha.cloud}'>${PING}</iq>`);
    await there.until(/<iq[^>]*id='p3'.*<error/);
    expect(here.text).not.toContain("id='p3'");
    here.close();
    there.close();
  });

  it("takes the place of the configured one, and stays while the leader is away", async () => {
    const here = await alpha.component();
    await set(here, alpha, ["cloud.gamma.test"]);
    here.close();
    const stream = await alpha.peer("cloud.gamma.test", gammaTls);
    const successor = await alpha.component();
    stream.send(`<message from='cloud.gamma.test' to='${alpha.cloud}'><body>let in</body></message>`);
    await successor.until(/let in/);
    successor.close();
    stream.close();
  });

  it("is set by the component alone", async () => {
    const host = await alpha.client("host1", "one");
    host.send(`<iq type='set' id='h' to='alpha.test'>${list(["cloud.mallory.test"])}</iq>`);
    await host.until(/<iq[^>]*id='h'.*forbidden/);
    const manager = await alpha.component("cm-a.alpha.test");
    manager.send(`<iq type='set' id='m' from='cm-a.alpha.test' to='alpha.test'>${list(["cloud.mallory.test"])}</iq>`);
    await manager.until(/<iq[^>]*id='m'.*forbidden/);
    manager.close();
  });

  it.each(["", "a b", "x@cloud.beta.test", "cloud.beta.test/r", "CLOUD.beta.test"])(
    "S1: refuses a list in which %j stands for a domain, and keeps the one before",
    async (name) => {
      const here = await alpha.component();
      here.send(`<iq type='set' id='b' from='${alpha.cloud}' to='alpha.test'>${list([name])}</iq>`);
      await here.until(/<iq[^>]*id='b'.*(bad-request|result)/);
      expect(here.text).toContain("bad-request");
      here.close();
    },
  );

  it("turns a stranger away, told why once and with silence after that, and logs it once", async () => {
    const here = await alpha.component();
    await set(here, alpha, []);
    here.close();
    const said = [await turnedAway(), await turnedAway(), await turnedAway()];
    expect(said.map((text) => text.includes("policy-violation"))).toEqual([true, false, false]);
    const log = await alpha.log();
    expect(log.match(/Refused a stream from cloud\.gamma\.test/g)).toHaveLength(1);
  });

  it("counts until the server ends: after a restart the configured one does, until the leader is there", async () => {
    const here = await alpha.component();
    await set(here, alpha, ["cloud.gamma.test"]);
    here.close();
    await alpha.server.stop();
    must(await alpha.server.start());
    expect(await turnedAway()).toContain("policy-violation");
  });
});

function list(peers: readonly string[]): string {
  return `<peers xmlns='urn:muster:peers:1'>${peers.map((peer) => `<peer>${peer}</peer>`).join("")}</peers>`;
}

let count = 0;

async function set(stream: RawStream, site: TestSite, peers: readonly string[]): Promise<void> {
  count += 1;
  stream.send(`<iq type='set' id='set${count}' from='${site.cloud}' to='${site.site.domain}'>${list(peers)}</iq>`);
  const [answer] = await stream.until(new RegExp(`<iq[^>]*id=['"]set${count}['"][^>]*>`));
  expect(answer).toContain("result");
}

/** What gamma hears when it comes with a good certificate. */
async function turnedAway(): Promise<string> {
  const stream = await alpha.peer("cloud.gamma.test", gammaTls).catch(String);
  if (typeof stream === "string") return stream;
  await stream.untilClosed();
  return stream.text;
}
