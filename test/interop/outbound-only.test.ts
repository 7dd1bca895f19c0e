/** Beta's server takes no connections of other servers and opens none: it comes to alpha as an ordinary client account. */
import { encodeBurstRequest, signBurst, siteKeyFromPem } from "@muster/broker";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loginPassword } from "../../packages/cluster-manager/src/xmpp-face/peer-login.ts";
import { muster } from "../system/federation-run.ts";
import { until } from "../system/until.ts";
import type { XmppClient } from "../watch/xmpp-client.ts";
import { SITES, type SiteName, TwoSites } from "./two-sites.ts";

const OTHER: Readonly<Record<SiteName, SiteName>> = { alpha: "beta", beta: "alpha" };
const ACCOUNT = "cloud-beta.test@alpha.test";
const SERVICE = "xmpps://127.45.24.3:5223";

let sites: TwoSites;

beforeAll(async () => {
  sites = await TwoSites.start({ loopback: 24, outboundOnly: "beta", peering: "none" });
}, 120_000);
afterAll(() => sites.stop(), 60_000);

async function peer(site: SiteName) {
  const shown = await sites.client(site).peer(`${OTHER[site]}.test`);
  if (!shown.ok) throw new Error(shown.error.message);
  return shown.value;
}

async function burstsRun(what: string): Promise<void> {
  for (const home of SITES) {
    const { id } = await sites.burst(home, `${what}-${home}`);
    const vm = await sites.untilRuns(home, id, 40_000);
    expect(vm.place).toMatchObject({ kind: "peer", peer: `${OTHER[home]}.test` });
    // What is lent is little: the next one needs its room.
    await sites.client(home).deleteVm(id);
    await until("its room is free", async () => (await sites.vm(home, id)).phase === "deleted");
  }
}

/** What beta asks of alpha, signed by beta's key. */
async function question(): Promise<string> {
  const key = siteKeyFromPem(sites.secret("beta", "site-key.pem"));
  if (!key.ok) throw new Error(key.error);
  const site = await sites.client("beta").site();
  if (!site.ok) throw new Error(site.error.message);
  const { payload } = encodeBurstRequest({ kind: "offer-query", body: { term: site.value.term } });
  return String(await signBurst(payload, { from: "beta.test", to: "alpha.test" }, key.value));
}

/** As the account of the peer, by the password that its managers make of their secret. */
function asPeer(): Promise<XmppClient> {
  const password = loginPassword(sites.secret("beta", "cloud-secret"), ACCOUNT);
  return sites.logIn("alpha", "cloud-beta.test", password);
}

describe("a site that no other server can reach", () => {
  it("peers by two commands, which give it an account, and both sides show how they speak", async () => {
    const at = (site: SiteName, ...args: string[]) => muster(["--state", sites.state, "--site", site, "peer", ...args]);
    const invited = await at("alpha", "invite", "beta.test", "--reach", "client");
    expect(invited).toMatchObject({ code: 0, stderr: expect.stringContaining(`It comes as ${ACCOUNT}`) });
    const token = invited.stdout.trim();
    const accepted = await at("beta", "accept", token, "--yes");
    expect(accepted.stderr).toContain(`We would log in as ${ACCOUNT} at ${SERVICE}, and open no port for it`);
    expect(accepted).toMatchObject({ code: 0, stdout: expect.stringMatching(/alpha\.test\s+active/) });
    expect((await peer("alpha")).reach).toEqual({ kind: "account", jid: ACCOUNT });
    expect((await peer("beta")).reach).toEqual({ kind: "client", jid: ACCOUNT, service: SERVICE });
    const shown = await at("beta", "show", "alpha.test");
    expect(shown.stdout).toContain(ACCOUNT);
  }, 60_000);

  it("bursts to its peer and is burst to, with no connection between the servers", async () => {
    await burstsRun("first");
    expect(sites.relays.alpha.connections + sites.relays.beta.connections).toBe(0);
  }, 90_000);

  it("sees what its peer lends by presence, and shows what it lends itself", async () => {
    await until("both see each other", async () => {
      const shown = await Promise.all(SITES.map(async (site) => (await peer(site)).presence?.accepting));
      return shown.every((accepting) => accepting === true);
    });
  }, 60_000);

  it("B5: what it signed is refused from another account of that server, and taken from its own", async () => {
    const stranger = await sites.watcher("alpha");
    const refused = await stranger.iq("get", "cloud.alpha.test", await question());
    stranger.close();
    expect(refused).toMatch(/type='error'.*reason='no-peering'/);
    const account = await asPeer();
    expect(await account.iq("get", "cloud.alpha.test", await question())).toMatch(/type='result'.*<offer /);
    account.close();
  });

  it("B5: its account without its key is refused, and speaks with nobody but the component", async () => {
    const account = await asPeer();
    const unsigned = "<offer-query xmlns='urn:muster:burst:1' term='1'/>";
    expect(await account.iq("get", "cloud.alpha.test", unsigned)).toMatch(/type='error'.*reason='unsigned'/);
    const ping = "<ping xmlns='urn:xmpp:ping'/>";
    for (const other of ["host-host1@alpha.test", "admin@alpha.test", "cm-a.alpha.test", "cloud.beta.test"])
      expect(await account.iq("get", other, ping)).toContain("<forbidden");
    const roster = "<query xmlns='jabber:iq:roster'><item jid='host-host1@alpha.test'/></query>";
    expect(await account.iq("set", "", roster)).toContain("<forbidden");
    account.close();
  });

  it("B2: goes on after its login broke and came back, and nothing was started twice", async () => {
    sites.logins.mode = { kind: "cut" };
    const { id } = await sites.burst("beta", "while-cut");
    await until("the login is gone", () => sites.logins.connections === 0);
    expect((await sites.vm("beta", id)).phase).not.toBe("running");
    sites.logins.mode = { kind: "pass" };
    await sites.untilRuns("beta", id, 60_000);
    const lent = await sites.client("alpha").vms({ final: "false" });
    expect(lent.ok && lent.value.filter(({ name }) => name === "while-cut")).toHaveLength(1);
    await sites.client("beta").deleteVm(id);
  }, 90_000);

  it("goes on under another leader, who takes the login over", async () => {
    const { before, after } = await sites.takeOver("beta");
    expect(after).not.toBe(before);
    await burstsRun("after");
  }, 120_000);

  it("B5: is refused while it is suspended, with the reason at home, and heard again afterwards", async () => {
    expect((await sites.client("alpha").changePeer("beta.test", "suspend", "switch is replaced")).ok).toBe(true);
    await until("beta heard why", async () => (await peer("beta")).partner?.reason === "switch is replaced");
    const account = await asPeer();
    const refused = await account.iq("get", "cloud.alpha.test", await question());
    expect(refused).toMatch(/type='error'.*reason='peering-suspended'/);
    expect((await sites.client("alpha").changePeer("beta.test", "resume")).ok).toBe(true);
    expect(await account.iq("get", "cloud.alpha.test", await question())).toMatch(/type='result'/);
    account.close();
    await until("beta heard", async () => (await peer("beta")).partner?.state === "active");
    await burstsRun("again");
  }, 90_000);

  it("loses its account when the peering is over", async () => {
    expect((await sites.client("alpha").changePeer("beta.test", "leave", "thank you")).ok).toBe(true);
    await until("beta heard", async () => (await peer("beta")).state === "left");
    await until(
      "the account is gone",
      async () => {
        const said = await asPeer().then(
          (account) => {
            account.close();
            return "let in";
          },
          (error: unknown) => String(error),
        );
        return said.includes("was refused");
      },
      40_000,
    );
  }, 90_000);
});
