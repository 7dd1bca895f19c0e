import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { createSiteClient } from "@muster/client";
import { nodeProgram } from "@muster/federation";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { EtcdClient } from "../../packages/cluster-manager/src/store/etcd/etcd-client.ts";
import { finished } from "../system/federation-run.ts";
import { until } from "../system/until.ts";
import { ManagedSite } from "./managers.ts";

const MANAGER = "packages/cluster-manager/src/main.ts";

let managed: ManagedSite;
const strangers: ChildProcess[] = [];
beforeAll(async () => {
  managed = await ManagedSite.start(143, "etcd");
});
afterEach(() => {
  for (const stranger of strangers.splice(0)) stranger.kill("SIGKILL");
});
afterAll(async () => {
  await managed?.stop();
});

function logOf(manager: string): string {
  return readFileSync(join(managed.state, "logs", `alpha-manager-${manager}.log`), "utf8");
}

type ManagerFile = { readonly store: object; readonly api: object; readonly xmpp: Readonly<Record<string, unknown>> };

/** Another manager's process over the federation's etcd, with the configuration of `a` but for `more`; it links to nobody. */
function stranger(
  more: (own: ManagerFile) => object,
): Promise<{ readonly code: number | null; readonly stdout: string }> {
  const folder = join(managed.state, "alpha", "manager");
  const own = parse(readFileSync(join(folder, "cluster-a.yaml"), "utf8"));
  const { managerSecretFile: _, ...xmpp } = own.xmpp;
  const file = join(folder, "cluster-stranger.yaml");
  const api = { ...own.api, port: 0 };
  writeFileSync(file, stringify({ ...own, api, xmpp: { ...xmpp, port: 1 }, peers: [], ...more({ ...own, api }) }));
  const { command, args } = nodeProgram(MANAGER, ["--config", file]);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  strangers.push(child);
  return finished(child);
}

async function edit(key: string, value: object): Promise<void> {
  const { endpoints, caFile, certFile, keyFile } = managed.etcd.access;
  const [ca, cert, key_] = [caFile, certFile, keyFile].map((file) => readFileSync(file, "utf8"));
  const client = new EtcdClient({
    clock: systemClock,
    endpoints,
    tls: { ca: ca ?? "", cert: cert ?? "", key: key_ ?? "" },
  });
  const put = await client.txn({ compare: [], success: [{ kind: "put", key, value: JSON.stringify(value) }] });
  client.close();
  expect(put.ok).toBe(true);
}

describe("two managers over etcd", () => {
  it("says that etcd is the store, warns of a version before 3.5.14, and any manager tells who leads", async () => {
    const { leader, standby, term } = await managed.settled();
    const endpoint = { urls: [urlOf(standby)], token: adminToken() };
    const asked = createSiteClient({ endpoint, clock: systemClock, rng: systemRng, patienceMs: 2_000 });
    expect(await asked.site()).toMatchObject({
      ok: true,
      value: {
        store: "etcd",
        leader,
        term,
        managers: [
          { name: leader, role: "leader" },
          { name: standby, role: "standby" },
        ],
      },
    });
    const sent = await fetch(`${urlOf(standby)}/v1/vms`, { method: "POST", redirect: "manual" });
    expect(sent.status).toBe(307);
    expect(sent.headers.get("location")).toBe(`${urlOf(leader)}/v1/vms`);
    expect(logOf(leader)).toContain("is older than 3.5.14: after a crash its members may silently disagree; update it");
  });

  it("L3: the leader is killed: the standby leads by the next term, every request has one answer and one outcome", async () => {
    const before = await managed.settled();
    await managed.through("killed", () => managed.site.managers.get(before.leader)?.crash(500));
    expect(await managed.settled()).toEqual({
      leader: before.standby,
      standby: before.leader,
      term: before.term + 1,
    });
  });

  it("L2: the leader hangs: the standby takes its term away, and it ends by itself once it goes on", async () => {
    const before = await managed.settled();
    const hung = managed.pid(before.leader);
    await managed.through("hung", () => managed.site.managers.get(before.leader)?.hang(500));
    expect(managed.pid(before.leader)).toBe(hung);
    managed.site.managers.get(before.leader)?.resume();
    expect(await managed.settled()).toEqual({ leader: before.standby, standby: before.leader, term: before.term + 1 });
    expect(managed.pid(before.leader)).not.toBe(hung);
    expect(logOf(before.leader)).toContain("another manager leads now");
  });

  it("the leader steps down: the standby leads, and the one before waits in the same process", async () => {
    const before = await managed.settled();
    const pid = managed.pid(before.leader);
    await managed.through("handed", async () => expect((await managed.site.client.stepDown()).ok).toBe(true));
    expect(await managed.settled()).toEqual({ leader: before.standby, standby: before.leader, term: before.term + 1 });
    expect(managed.pid(before.leader)).toBe(pid);
  });

  it("the XMPP server dies and comes back: nobody is deposed for a link that is not back yet", async () => {
    const before = await managed.settled();
    process.kill(managed.site.serverPid ?? 0, "SIGKILL");
    await managed.through("server", () => {});
    expect(await managed.settled()).toEqual(before);
  });

  it("a member of etcd is killed, its leader: the same manager leads on, and nothing is lost", async () => {
    const before = await managed.settled();
    const member = await managed.etcd.leader();
    await managed.through("member", () => managed.etcd.members.get(member ?? "")?.crash(1_000));
    expect(await managed.settled()).toEqual(before);
    await until("all members are back", async () => (await managed.etcd.statuses()).every((status) => status?.leader));
  });

  it("P3: most members of etcd are gone: requests are refused with the remedy, VMs run on, and it comes back by itself", async () => {
    const { leader } = await managed.settled();
    const ids = await managed.load("before", 5);
    await managed.allRunOnce("before", ids);
    for (const member of ["m1", "m2"]) managed.etcd.members.get(member)?.crash(12_000);
    const spec = { image: "debian-12", vcpus: 1, memoryMiB: 128, diskGiB: 1 };
    const wish = { name: "amid", project: "amid", spec };
    // The leader's own word: a standby would only say that it waits.
    const endpoint = { urls: [urlOf(leader)], token: adminToken() };
    const asked = createSiteClient({ endpoint, clock: systemClock, rng: systemRng, patienceMs: 100 });
    const refused = await asked.createVms(wish, "request-amid");
    expect(refused).toMatchObject({ ok: false, error: { kind: "unavailable" } });
    expect(!refused.ok && refused.error.message).toMatch(/more than half of etcd's members|muster doctor/);
    // The same request under the same id, once a quorum is back.
    const ask = () => managed.site.client.createVms(wish, "request-amid");
    await until("requests are taken again", async () => (await ask()).ok, 60_000);
    const taken = await ask();
    await managed.allRunOnce("amid", taken.ok ? taken.value.vms.map(({ id }) => id) : []);
    await managed.allRunOnce("before", ids);
    await managed.settled();
  });

  it("refuses the prefix of another site, a store of a newer schema, and a namesake on another machine, each with the remedy", async () => {
    const { leader } = await managed.settled();
    const foreign = await stranger(({ store }) => ({
      site: "gamma.test",
      name: "c",
      store: { ...store, prefix: "muster/alpha.test/" },
    }));
    expect(foreign.code).toBe(2);
    expect(foreign.stdout).toContain(
      "holds the records of alpha.test, not of gamma.test; give this site a store.prefix",
    );
    await edit("newer/meta/site", { schema: 2, site: "alpha.test", term: 7 });
    const old = await stranger(({ store }) => ({ name: "c", store: { ...store, prefix: "newer/" } }));
    expect(old.code).toBe(2);
    expect(old.stdout).toContain("was written with store schema 2, this version knows 1; run the newer version again");
    const twin = await stranger(() => ({ name: leader }));
    expect(twin.code).toBe(2);
    expect(twin.stdout).toContain(`another manager named \\"${leader}\\" runs over`);
    // Other addresses of the same etcd hide it from the claim on this machine, as another machine would.
    const far = await stranger(({ store }) => ({
      name: leader,
      store: { ...store, endpoints: managed.etcd.access.endpoints.slice(0, 2) },
    }));
    expect(far.code).toBe(2);
    expect(far.stdout).toContain(
      `another manager named \\"${leader}\\" leads; give each manager of the site its own name`,
    );
    expect((await managed.settled()).leader).toBe(leader);
  });
});

function urlOf(manager: string): string {
  const { address, managers } = managed.site.plan;
  return `http://${address}:${managers.find(({ name }) => name === manager)?.apiPort}`;
}

function adminToken(): string {
  return readFileSync(join(managed.state, "alpha", "secrets", "admin-token"), "utf8").trim();
}
