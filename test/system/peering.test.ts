/** Two sites that no configuration makes peers: by two commands on real processes, a burst over it, and its end. */

import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { generateSiteKey, pemOf } from "@muster/broker";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPeer } from "../../packages/xmpp-server/src/testing/raw-stream.ts";
import { FederationRun, muster, newStateFolder } from "./federation-run.ts";
import { processOf } from "./traces.ts";
import { until } from "./until.ts";

let run: FederationRun;

beforeAll(async () => {
  const shape = ["--sites", "2", "--hosts", "1", "--managers", "2", "--hypervisor", "simulated"];
  run = await FederationRun.up(newStateFolder(), [...shape, "--loopback", "155", "--unpeered"], 90_000);
}, 120_000);

afterAll(() => run.clear(), 60_000);

const at = (site: string, ...args: string[]) => muster(["--state", run.state, "--site", site, ...args]);

const stateOf = async (site: string, domain: string): Promise<string | undefined> => {
  const peer = await run.client(site).peer(domain);
  return peer.ok ? peer.value.state : undefined;
};

let token: string;

describe("two sites without a peering", () => {
  it("have no peers, and a burst has nowhere to go", async () => {
    const peers = await run.client().peers();
    expect(peers.ok && peers.value).toEqual([]);
    const only = await at("alpha", "vm", "create", "--name", "away", "--image", "debian-12", "--burst", "only");
    expect(only.code).not.toBe(0);
    expect(only.stderr).toMatch(/no peer may be asked/);
  });

  it("are peers after two commands", async () => {
    const invited = await at("alpha", "peer", "invite", "beta.test", "--lend-share", "50%", "--lend-vms", "5");
    expect(invited).toMatchObject({ code: 0 });
    token = invited.stdout.trim();
    expect(token).toMatch(/^[A-Za-z0-9_-]{200,700}$/);
    const unasked = await at("beta", "peer", "accept", token);
    expect(unasked).toMatchObject({ code: 2, stderr: expect.stringMatching(/50 % of the site, 5 VMs.*Say --yes/s) });
    const accepted = await at("beta", "peer", "accept", token, "--lend-share", "1", "--yes");
    expect(accepted.stderr).toContain("alpha.test would lend us: 50 % of the site, 5 VMs at most");
    expect(accepted).toMatchObject({ code: 0, stdout: expect.stringMatching(/alpha\.test\s+active/) });
    const listed = await at("alpha", "peer", "list");
    expect(listed.stdout).toMatch(/beta\.test\s+active/);
    const fingerprints = [await run.client("alpha").peer("beta.test"), await run.client("beta").peer("alpha.test")];
    const [there, here] = fingerprints.map((peer) => (peer.ok ? peer.value : undefined));
    expect(there?.keyFingerprint).toBe(here?.ourKey?.fingerprint);
    expect(here?.keyFingerprint).toBe(there?.ourKey?.fingerprint);
  });

  it("show each other what they lend, coarsely, and maintenance with its reason, which a borrower names", async () => {
    const shown = async () => {
      const peer = await run.client().peer("beta.test");
      return peer.ok ? peer.value.presence : undefined;
    };
    await until("alpha is shown room", async () => ((await shown())?.free.vcpus ?? 0) > 0);
    expect(Number.isInteger(Math.log2((await shown())?.free.vcpus ?? 0))).toBe(true);
    const announced = await at("beta", "site", "maintenance", "--until", "2h", "--reason", "new switches");
    expect(announced).toMatchObject({ code: 0, stdout: expect.stringMatching(/new switches/) });
    await until("alpha sees it", async () => (await shown())?.maintenance?.reason === "new switches");
    const spec = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5 };
    const table = await run.client().dryRun({ name: "wish", spec, burst: "only" });
    expect(table.ok && table.value.candidates).toContainEqual(
      expect.objectContaining({
        name: "beta.test",
        reason: "maintenance",
        message: expect.stringContaining("switches"),
      }),
    );
    expect((await at("alpha", "peer", "show", "beta.test")).stdout).toMatch(/new switches/);
    expect(await at("beta", "site", "maintenance", "--end")).toMatchObject({ code: 0 });
    await until("alpha sees its end", async () => (await shown())?.accepting === true);
  });

  it("B1: the same token again changes nothing, at the site that used it", async () => {
    const again = await at("beta", "peer", "accept", token, "--lend-share", "1", "--yes");
    expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/alpha\.test\s+active/) });
  });

  it("burst over it", async () => {
    const create = ["vm", "create", "--name", "away", "--image", "debian-12", "--burst", "only", "--wait=60s"];
    expect(await at("alpha", ...create)).toMatchObject({ code: 0 });
    const vm = await run.client().vm("away");
    expect(vm.ok && vm.value).toMatchObject({ phase: "running", place: { kind: "peer", peer: "beta.test" } });
  }, 90_000);

  it("go on after the leader of one of them is killed: its successor lets the peer in again", async () => {
    const before = await run.client().site();
    const leader = before.ok ? before.value.leader : "";
    const { pid } = processOf(
      run.state,
      new RegExp(`cluster-manager/src/main\\.ts --config \\S+/alpha/\\S*-${leader}\\.yaml`),
    );
    process.kill(pid, "SIGKILL");
    await until("another term", async () => {
      const site = await run.client().site();
      return site.ok && before.ok && site.value.term > before.value.term && site.value.reconciled;
    });
    await until("the peer is reached", async () => (await stateOf("alpha", "beta.test")) === "active");
    const vm = await run.client().vm("away");
    expect(vm.ok && vm.value.phase).toBe("running");
  }, 90_000);

  it("succeed to a new key, and bursts go on under it", async () => {
    const none = await at("beta", "peer", "rotate-key", "--yes");
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining("openssl genpkey -algorithm ed25519 >>") });
    const file = join(run.state, "beta", "secrets", "site-key.pem");
    expect(readFileSync(file, "utf8")).toContain("PRIVATE KEY");
    appendFileSync(file, `\n${pemOf(generateSiteKey())}`);
    expect(await at("beta", "peer", "rotate-key", "--yes")).toMatchObject({ code: 0 });
    await until("alpha pinned it", async () => {
      const peer = await run.client().peer("beta.test");
      return peer.ok && peer.value.keySequence === 2;
    });
    const create = ["vm", "create", "--name", "later", "--image", "debian-12", "--burst", "only", "--wait=60s"];
    expect(await at("alpha", ...create)).toMatchObject({ code: 0 });
  }, 90_000);

  it("part: told with the reason, and strangers to each other's servers again", async () => {
    const left = await at("beta", "peer", "leave", "alpha.test", "--reason", "budget is spent", "--yes");
    expect(left).toMatchObject({ code: 0, stdout: expect.stringMatching(/left/) });
    await until("alpha heard", async () => (await stateOf("alpha", "beta.test")) === "left");
    expect((await at("alpha", "peer", "list")).stdout).toContain("budget is spent");
    await until("beta knows that alpha heard", async () => {
      const peer = await run.client("beta").peer("alpha.test");
      return peer.ok && peer.value.told;
    });
    // The last words about the end have some seconds; then the server turns beta away.
    await until(
      "alpha's server turns beta away",
      async () => (await turnedAway()).includes("policy-violation"),
      60_000,
    );
  }, 120_000);
});

/** What beta's certificate hears at alpha's server. */
async function turnedAway(): Promise<string> {
  const ca = readFileSync(join(run.state, "authority", "ca.crt"));
  const [cert, key] = ["crt", "key"].map((end) => readFileSync(join(run.state, "beta", "certificates", `site.${end}`)));
  if (cert === undefined || key === undefined) throw new Error("beta has no certificate");
  const names = { from: "cloud.beta.test", to: "cloud.alpha.test" };
  const stream = await openPeer({ address: "127.0.155.1", port: 5269, ca }, names, { cert, key }).catch(String);
  if (typeof stream === "string") return stream;
  await stream.until(/policy-violation|<\/stream:stream>/, 2_000).catch(String);
  stream.close();
  return stream.text;
}
