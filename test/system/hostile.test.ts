import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { generateSiteKey, jwkOf, type Peering, signBurst } from "@muster/broker";
import type { VmView } from "@muster/protocol";
import { parse } from "ltx";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { linkComponent, openPeer, type RawStream } from "../../packages/xmpp-server/src/testing/raw-stream.ts";
import { logInAt, makeAccount } from "../watch/site-login.ts";
import { attribute } from "../watch/stanza-text.ts";
import type { XmppClient } from "../watch/xmpp-client.ts";
import { runningDomains } from "./domains.ts";
import { FederationRun, newStateFolder } from "./federation-run.ts";
import { processesOf, processOf, tracesOf } from "./traces.ts";
import { until } from "./until.ts";

const CLOUD = "cloud.alpha.test";
const MANAGER = /cluster-manager\/src\/main\.ts --config \S+\/alpha\//;
const ALPHA = "127.0.64.1";
const BETA = "127.0.65.1";
const NO_ID = "0190a7b2-0000-7000-8000-000000000099";

let run: FederationRun;
let vm: VmView;
let mallory: XmppClient;
/** A second session of another host's account. */
let host2: XmppClient;
let before: unknown;

/** Everything that must not change: what is wanted, what runs, who is alive, and the processes. */
async function standing(): Promise<unknown> {
  const api = run.client();
  const [vms, hosts, queue, leases] = await Promise.all([api.vms(), api.hosts(), api.queue(), api.leases()]);
  return {
    vms: vms.ok && vms.value,
    hosts:
      hosts.ok && hosts.value.map(({ name, liveness, draining, vms: count }) => ({ name, liveness, draining, count })),
    queue: queue.ok && queue.value,
    leases: leases.ok && leases.value,
    domains: [...(await runningDomains(run.state, "alpha"))],
    processes: processesOf(run.state).map(({ pid }) => pid),
  };
}

function command(action: string, term: number, id = vm.id): string {
  return `<command xmlns='urn:muster:command:1' id='${NO_ID}' term='${term}' action='${action}' vm='${id}' attempt='1'/>`;
}

function notices(state: string): string {
  return `<notices xmlns='urn:muster:notice:1' boot-id='3f2504e0-4f89-41d3-9a0c-0305e82c3301'><notice sequence='1' vm='${vm.id}' attempt='1' state='${state}'/></notices>`;
}

function secret(site: string, name: string): string {
  return readFileSync(join(run.state, site, "secrets", name), "utf8").trim();
}

async function settled(): Promise<void> {
  await until("everything as before", async () => {
    const vms = await run.client().vms({ final: "false" });
    const hosts = await run.client().hosts();
    const alive = hosts.ok && hosts.value.every(({ liveness }) => liveness === "alive");
    return alive && vms.ok && vms.value.every(({ phase }) => phase === "running");
  });
}

beforeAll(async () => {
  run = await FederationRun.up(newStateFolder(), ["--hosts", "2", "--managers", "1", "--loopback", "64"]);
  const spec = { image: "debian-12", vcpus: 2, memoryMiB: 512, diskGiB: 5, labels: { zone: "east" } };
  const created = await run.client().createVms({ name: "victim", spec }, "victim");
  if (!created.ok || created.value.vms[0] === undefined) throw new Error("no VM");
  [vm] = created.value.vms as [VmView];
  await settled();
  await makeAccount(run, "alpha", "mallory", "sesame");
  mallory = await logInAt(run, "alpha", "mallory", "sesame");
  host2 = await logInAt(run, "alpha", "host-host2");
  before = await standing();
});

afterAll(async () => {
  mallory?.close();
  host2?.close();
  await run.clear();
  expect(tracesOf(run.state, [64, 65])).toEqual([]);
});

describe("stanzas that must change nothing", () => {
  afterEach(async () => {
    // A loaded machine may miss a heartbeat: that passes. A VM touched even for a moment has another time of change.
    let now: unknown;
    const isAsBefore = async (): Promise<boolean> => {
      now = await standing();
      return isDeepStrictEqual(now, before);
    };
    await until(() => "everything as before", isAsBefore, 5_000).catch(() => expect(now).toEqual(before));
  });

  it.each([
    ["a stranger", () => mallory],
    ["another host", () => host2],
  ])("H1: a host obeys no order of %s's account", async (_who, client) => {
    const to = "host-host1@alpha.test/host-manager";
    for (const action of ["stop", "delete", "void"]) {
      const answer = await client().iq("set", to, command(action, 99));
      expect(answer).toMatch(/<forbidden/);
      expect(answer).toMatch(/this host obeys cloud\.alpha\.test/);
    }
    const hello = await client().iq("set", to, "<hello xmlns='urn:muster:hello:1' term='99' manager='x'/>");
    expect(hello).toMatch(/<forbidden/);
    const list = await client().iq("get", to, "<query xmlns='urn:muster:inventory:1'/>");
    expect(list).toMatch(/<forbidden|<service-unavailable|<bad-request/);
    expect(list).not.toContain(vm.id);
  });

  it("a stranger reports nothing about VMs", async () => {
    const answer = await mallory.iq("set", CLOUD, notices("gone"));
    expect(answer).toMatch(/<forbidden/);
    expect(answer).toMatch(/only hosts of this site report here/);
  });

  it("another host's word about this host's VM counts for nothing", async () => {
    host2.send(`<presence to='vm-${vm.id}@${CLOUD}' type='unavailable'/>`);
    host2.send(`<presence to='host-host1@${CLOUD}' type='unavailable'/>`);
    // A session that never reported says goodbye to the site: the one that reports is still there.
    host2.send(`<presence to='${CLOUD}' type='unavailable'/>`);
    for (const state of ["gone", "failed", "stopped"]) await host2.iq("set", CLOUD, notices(state));
    expect(await host2.iq("get", CLOUD, "<ping xmlns='urn:xmpp:ping'/>")).toMatch(/type=['"]result/);
  });

  it("S1: what is malformed is answered with the field at fault", async () => {
    const answer = await host2.iq(
      "set",
      CLOUD,
      "<notices xmlns='urn:muster:notice:1'><notice sequence='x'/></notices>",
    );
    expect(answer).toMatch(/<bad-request/);
    expect(answer).toMatch(/bootId/);
  });

  it("S1: an unknown namespace and two children are answered with the stanza errors of RFC 6120", async () => {
    expect(await mallory.iq("set", CLOUD, "<x xmlns='urn:nobody:knows:1'/>")).toMatch(/<service-unavailable/);
    const ping = "<ping xmlns='urn:xmpp:ping'/>";
    expect(await mallory.iq("get", CLOUD, `${ping}${ping}`)).toMatch(/<bad-request/);
    expect(await mallory.iq("get", CLOUD, "")).toMatch(/<bad-request/);
  });

  it("S2: what is far too large ends that session at most", async () => {
    const large = await logInAt(run, "alpha", "mallory", "sesame");
    try {
      const text = "x".repeat(200_000);
      const answer = await large.iq("set", CLOUD, `<x xmlns='urn:nobody:knows:1'>${text}</x>`).catch(String);
      expect(answer).toMatch(/type=['"]error['"]|closed/);
      large.send(`<message to='${CLOUD}'><body>${"y".repeat(2_000_000)}</body></message>`);
      await large.iq("get", CLOUD, "<ping xmlns='urn:xmpp:ping'/>").catch(String);
    } finally {
      large.close();
    }
    expect(await mallory.iq("get", CLOUD, "<ping xmlns='urn:xmpp:ping'/>")).toMatch(/type=['"]result/);
  });

  it("a forged from never passes the server", async () => {
    const forger = await logInAt(run, "alpha", "mallory", "sesame");
    try {
      const from = " from='host-host1@alpha.test/host-manager'";
      const answer = await forger.iq("set", CLOUD, notices("gone"), from).catch(String);
      expect(answer).toMatch(/invalid-from|<forbidden|closed/);
      expect(answer).not.toMatch(/type=['"]result/);
    } finally {
      forger.close();
    }
  });

  it("B5: an account of the site is no peer", async () => {
    const offer = await mallory.iq("get", CLOUD, "<query xmlns='urn:muster:burst:1'/>");
    expect(offer).toMatch(/type=['"]error['"]/);
    const release = await mallory.iq("set", CLOUD, `<release xmlns='urn:muster:burst:1' id='${NO_ID}' term='1'/>`);
    expect(release).toMatch(/<forbidden|<service-unavailable/);
  });

  it("nobody here speaks to a domain without a peering", async () => {
    const answer = await mallory.iq("get", "cloud.gamma.test", "<ping xmlns='urn:xmpp:ping'/>");
    expect(answer).toMatch(/type=['"]error['"]/);
  });

  it("a domain without a peering is not let in, whatever its certificate", async () => {
    const ca = readFileSync(join(run.state, "authority", "ca.crt"));
    // A certificate of the same authority for another name: the best that a stranger could have.
    const cert = readFileSync(join(run.state, "beta", "certificates", "site.crt"));
    const key = readFileSync(join(run.state, "beta", "certificates", "site.key"));
    const names = { from: "beta.test", to: CLOUD };
    const refused = openPeer({ address: ALPHA, port: 5269, ca }, names, { cert, key }).then(
      async (stream: RawStream) => {
        stream.send(`<iq type='get' id='1' from='beta.test' to='${CLOUD}'><ping xmlns='urn:xmpp:ping'/></iq>`);
        const [said] = await stream.until(/<iq[^>]*type='result'|policy-violation|<\/stream:stream>/);
        stream.close();
        return said;
      },
    );
    expect(await refused.catch(String)).toMatch(/policy-violation|not-authorized|<\/stream|no .* before the end/);
  });
});

describe("what only somebody with a stolen component secret could send", () => {
  it("H1: a host answers a term lower than one it obeyed with stale-term, and a VM it does not have with that", async () => {
    process.kill(processOf(run.state, MANAGER).pid, "SIGKILL");
    await until("a second term", async () => {
      const site = await run.client().site();
      return site.ok && site.value.term === 2 && site.value.reconciled;
    });
    await settled();
    const cloud = await linkComponent({ address: ALPHA, port: 5347 }, CLOUD, secret("alpha", "cloud-secret"));
    try {
      const order = (id: string, payload: string): void =>
        cloud.send(`<iq type='set' id='${id}' from='${CLOUD}' to='host-host1@alpha.test/host-manager'>${payload}</iq>`);
      order("stale", command("delete", 1));
      order("unknown", command("stop", 2, NO_ID));
      const answers = [await answerTo(cloud), await answerTo(cloud)];
      const stale = answers.find((text) => attribute(text, "id") === "stale");
      expect(stale).toMatch(/stale-term/);
      const unknown = answers.find((text) => attribute(text, "id") === "unknown");
      expect(unknown).toMatch(/item-not-found|state=['"](?:void|gone)['"]/);
    } finally {
      cloud.close();
    }
    await settled();
    expect([...(await runningDomains(run.state, "alpha"))]).toEqual([[vm.id, ["host1"]]]);
  });

  it("B5: a burst message that is not signed, or not by the pinned key, is refused and books nothing", async () => {
    const hold = (): ReturnType<typeof parse> =>
      parse(
        `<hold xmlns="urn:muster:burst:1" id="${NO_ID}" digest="${"9f".repeat(32)}" term="99" vm="${NO_ID}" name="w" project="p" owner="o" hold-ms="30000" lease-ms="300000" hops="1"><spec image="debian-12" vcpus="1" memory-mib="512" disk-gib="1" gpus="0"/></hold>`,
      );
    const key = generateSiteKey();
    const lend = { accept: true, share: 1, leaseMsMax: 60_000, vmsMax: 1, images: [] };
    const alpha: Peering = { domain: "alpha.test", publicKey: jwkOf(key).x, lend, borrow: true, state: "active" };
    const forged = await signBurst(hold(), { from: "beta.test", to: alpha.domain, question: undefined }, key);
    const cloud = await linkComponent({ address: BETA, port: 5347 }, "cloud.beta.test", secret("beta", "cloud-secret"));
    try {
      for (const payload of [hold(), forged]) {
        cloud.send(`<iq type='set' id='b' from='cloud.beta.test' to='${CLOUD}'>${payload.toString()}</iq>`);
        const answer = await answerTo(cloud);
        expect(answer).toMatch(/type=['"]error['"]/);
        expect(answer).toMatch(/signature/);
      }
    } finally {
      cloud.close();
    }
    const leases = await run.client().leases();
    expect(leases.ok && leases.value).toEqual([]);
  });
});

describe("HTTP requests that must change nothing", () => {
  const post = (headers: Record<string, string>, body: string): Promise<Response> =>
    fetch(`http://${ALPHA}:8080/v1/vms`, { method: "POST", headers, body });
  const create = JSON.stringify({ name: "x", spec: { image: "debian-12", vcpus: 1, memoryMiB: 64, diskGiB: 1 } });

  it.each([
    ["no token", {}, 401],
    ["a wrong token", { authorization: "Bearer nobody" }, 401],
  ])("%s gets a problem document", async (_what, headers, status) => {
    const response = await post({ "content-type": "application/json", ...headers }, create);
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toMatch(/application\/problem\+json/);
  });

  it("a body of another type or beyond the bound gets a problem document", async () => {
    const authorization = `Bearer ${secret("alpha", "admin-token")}`;
    const typed = await post({ authorization, "content-type": "text/plain" }, create);
    expect(typed.status).toBeGreaterThanOrEqual(400);
    expect(await typed.text()).toMatch(/content-type|application\/json/i);
    const large = await post({ authorization, "content-type": "application/json" }, `"${"x".repeat(4_000_000)}"`).catch(
      String,
    );
    if (typeof large !== "string") expect(large.status).toBeGreaterThanOrEqual(400);
    const vms = await run.client().vms();
    expect(vms.ok && vms.value).toHaveLength(1);
  });
});

/** The next answer that a component gets. */
async function answerTo(stream: RawStream): Promise<string> {
  const [text] = await stream.until(
    /<iq\b[^>]*type=['"](?:result|error)['"][^>]*>.*?<\/iq>|<iq\b[^>]*type=['"]result['"][^>]*\/>/s,
  );
  return text;
}
