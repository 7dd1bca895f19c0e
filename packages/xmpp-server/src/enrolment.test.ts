import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RawStream } from "./testing/raw-stream.ts";
import { must, type TestSite, TestSites } from "./testing/test-sites.ts";

let sites: TestSites;
let alpha: TestSite;
let component: RawStream;

beforeAll(async () => {
  sites = await TestSites.create();
  alpha = await sites.site("alpha.test", "127.0.33.1", { accounts: [{ name: "ann", password: "one" }] });
  await alpha.start();
  component = await alpha.component();
});

afterAll(() => sites.close());

describe("a token asked for by the site's component", () => {
  it("enrols one host, with a password of its own choice, which then logs in", async () => {
    const token = await enrol("host1");
    const host = await alpha.stranger();
    expect(await show(host, token)).toContain("type='result'");
    expect(await register(host, "host1", "chosen")).toContain("type='result'");
    (await alpha.client("host1", "chosen")).close();
  });

  it("is good for its account only, then still for that one", async () => {
    const token = await enrol("host2");
    const host = await alpha.stranger();
    await show(host, token);
    expect(await register(host, "host3", "chosen")).toMatch(/<forbidden.*for another account/);
    expect(await register(host, "host2", "chosen")).toContain("type='result'");
  });

  it("is good once, also for another connection that showed it before", async () => {
    const token = await enrol("host4");
    const [first, second] = await Promise.all([alpha.stranger(), alpha.stranger()]);
    await show(first, token);
    await show(second, token);
    expect(await register(first, "host4", "chosen")).toContain("type='result'");
    expect(await ask(revoke("host4"))).toContain("deleted='true'");
    expect(await register(second, "host4", "other")).toMatch(/<forbidden.*used up/);
    expect(await show(await alpha.stranger(), token)).toContain("<forbidden");
  });

  it("replaces the one before, and ends with its time and with a revocation", async () => {
    const [old, fresh] = [await enrol("host5"), await enrol("host5")];
    expect(await show(await alpha.stranger(), old)).toContain("<forbidden");
    expect(await show(await alpha.stranger(), fresh)).toContain("type='result'");
    expect(await ask(revoke("host5"))).toContain("deleted='false'");
    expect(await show(await alpha.stranger(), fresh)).toContain("<forbidden");

    const short = await enrol("host5", 1);
    const host = await alpha.stranger();
    const endMs = performance.now() + 5_000;
    while (!(await show(host, short)).includes("<forbidden")) {
      expect(performance.now()).toBeLessThan(endMs);
      await pause(50);
    }
    expect(await register(host, "host5", "chosen")).toMatch(/<forbidden.*expired/);
  });

  it("is needed: a wrong one and none at all are refused", async () => {
    const host = await alpha.stranger();
    expect(await show(host, "guessed")).toContain("<forbidden");
    expect(await register(host, "host6", "chosen")).toContain("invitation only");
  });
});

describe("refusals", () => {
  it.each([
    ["an account name that is not one", "<enrol xmlns='urn:muster:enrol:1' account='Host 1'/>", /bad-request.*account/],
    ["a missing account name", "<enrol xmlns='urn:muster:enrol:1'/>", /bad-request.*account/],
    ["a long account name", `<enrol xmlns='urn:muster:enrol:1' account='${"a".repeat(129)}'/>`, /bad-request.*account/],
    ["a lifetime of nothing", enrolment("host7", "0"), /bad-request.*ttl-seconds/],
    ["a lifetime of weeks", enrolment("host7", "604801"), /bad-request.*ttl-seconds/],
    ["a fractional lifetime", enrolment("host7", "1.5"), /bad-request.*ttl-seconds/],
    ["a lifetime that is no number", enrolment("host7", "soon"), /bad-request.*ttl-seconds/],
    ["an account that exists", enrolment("ann", "60"), /conflict.*revoke it first/],
    ["revoking without a name", "<revoke xmlns='urn:muster:enrol:1'/>", /bad-request.*account/],
  ])("%s is named in the answer", async (_, request, refusal) => {
    expect(await ask(request)).toMatch(refusal);
  });

  it.each(["enrol", "revoke"])(
    "only the component may ask: %s from an account and from a manager is forbidden",
    async (verb) => {
      const request = `<iq type='set' id='r1' to='alpha.test'><${verb} xmlns='urn:muster:enrol:1' account='ann'/></iq>`;
      const [ann, manager] = [await alpha.client("ann", "one"), await alpha.component("cm-a.alpha.test")];
      ann.send(request);
      await ann.until(/<iq[^>]*id='r1'.*<forbidden/);
      manager.send(request);
      await manager.until(/<iq[^>]*id='r1'.*<forbidden/);
      manager.close();
      (await alpha.client("ann", "one")).close();
    },
  );
});

describe("S2: tokens that are out at a time", () => {
  it("are bounded, and room is made by expiry, use and revocation", async () => {
    const small = await (await sites.site("small.test", "127.0.33.2", { pendingTokensMax: 2 })).start();
    must(await small.server.enrolmentToken("host1", 600));
    must(await small.server.enrolmentToken("host2", 600));
    must(await small.server.enrolmentToken("host2", 600));
    const link = await small.component();
    link.send(`<iq type='set' id='s1' from='${small.cloud}' to='small.test'>${enrolment("host3", "60")}</iq>`);
    await link.until(/id='s1'.*<error type='wait'><resource-constraint/);
    must(await small.server.removeAccount("host1"));
    must(await small.server.enrolmentToken("host3", 600));
    await small.close();
  });
});

describe("a removed host", () => {
  it("is thrown out and cannot come back", async () => {
    must(await alpha.server.ensureAccount({ name: "host8", password: "eight" }));
    const host = await alpha.client("host8", "eight");
    expect(await ask(revoke("host8"))).toContain("deleted='true'");
    await host.until(/<stream:error>.*not-authorized/);
    await expect(alpha.client("host8", "eight")).rejects.toThrow(/not-authorized/);
  });
});

describe("from the machine itself", () => {
  it("tokens are minted without the component, and accounts are made, changed and removed, again and again", async () => {
    const { token } = must(await alpha.server.enrolmentToken("host9", 60));
    expect(await show(await alpha.stranger(), token)).toContain("type='result'");
    expect(await alpha.server.enrolmentToken("ann", 60)).toEqual({
      ok: false,
      error: { kind: "account-exists", account: "ann" },
    });
    const password = `q"'\\]]<&>é`;
    must(await alpha.server.ensureAccount({ name: "bob", password: "first" }));
    must(await alpha.server.ensureAccount({ name: "bob", password }));
    const bob = await alpha.client("bob", password);
    must(await alpha.server.ensureAccount({ name: "bob", password }));
    bob.send("<iq type='get' id='b1' to='alpha.test'><ping xmlns='urn:xmpp:ping'/></iq>");
    await bob.until(/id='b1'/);
    expect(must(await alpha.server.removeAccount("bob"))).toBe(true);
    expect(must(await alpha.server.removeAccount("bob"))).toBe(false);
    expect(await alpha.server.ensureAccount({ name: 'x") os.exit()', password })).toMatchObject({ ok: false });
    expect(await alpha.log()).not.toContain(password);
  });
});

let asked = 0;

/** The component's request to the server; the whole answer. */
async function ask(request: string): Promise<string> {
  const id = `e${asked++}`;
  component.send(`<iq type='set' id='${id}' from='broker@${alpha.cloud}' to='alpha.test'>${request}</iq>`);
  return (await component.until(new RegExp(`<iq[^>]*id='${id}'.*</iq>`)))[0];
}

async function enrol(account: string, ttlSeconds = 60): Promise<string> {
  const answer = await ask(enrolment(account, `${ttlSeconds}`));
  expect(answer).toContain(`account='${account}'`);
  expect(answer).toContain(`expires-seconds='${ttlSeconds}'`);
  return /token='([^']+)'/.exec(answer)?.[1] ?? "";
}

function enrolment(account: string, ttlSeconds: string): string {
  return `<enrol xmlns='urn:muster:enrol:1' account='${account}' ttl-seconds='${ttlSeconds}'/>`;
}

function revoke(account: string): string {
  return `<revoke xmlns='urn:muster:enrol:1' account='${account}'/>`;
}

/** XEP-0445: shows the token before authentication. */
async function show(stream: RawStream, token: string): Promise<string> {
  const id = `p${asked++}`;
  stream.send(`<iq type='set' id='${id}' to='alpha.test'><preauth xmlns='urn:xmpp:pars:0' token='${token}'/></iq>`);
  return (await stream.until(new RegExp(`<iq[^>]*id='${id}'[^>]*(/>|>.*?</iq>)`)))[0];
}

/** XEP-0077. */
async function register(stream: RawStream, username: string, password: string): Promise<string> {
  const id = `i${asked++}`;
  const fields = `<username>${username}</username><password>${password}</password>`;
  stream.send(`<iq type='set' id='${id}'><query xmlns='jabber:iq:register'>${fields}</query></iq>`);
  return (await stream.until(new RegExp(`<iq[^>]*id='${id}'[^>]*(/>|>.*?</iq>)`)))[0];
}
