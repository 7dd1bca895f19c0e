import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock, systemRng } from "@muster/base";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { EtcdClient } from "./etcd/etcd-client.ts";
import { type EtcdTls, Gateway } from "./etcd/gateway.ts";
import { EtcdCluster } from "./etcd-cluster.fixture.ts";
import { type EtcdStoreOptions, etcdStoreOpener, openEtcdStore } from "./etcd-open.ts";
import { readAll } from "./read-all.ts";
import type { Store } from "./store.ts";

const run = promisify(execFile);
const ADDRESS = "127.0.71.21";
const SITE = "alpha.example";
const auth = { user: "muster", password: "right" };
let folder: string;
let cluster: EtcdCluster;
let tls: Required<EtcdTls>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-etcd-tls-"));
  await makeAuthority("ca");
  await makeAuthority("stranger");
  await makeCertificate("member", "ca");
  await makeCertificate("manager", "ca");
  await makeCertificate("intruder", "stranger");
  await makeCertificate("named", "ca", "/CN=root");
  const file = (name: string): string => join(folder, name);
  tls = { ca: text("ca.crt"), cert: text("manager.crt"), key: text("manager.key") };
  cluster = await EtcdCluster.start({
    addresses: [ADDRESS],
    tls: { caFile: file("ca.crt"), certFile: file("member.crt"), keyFile: file("member.key") },
    flags: ["--auth-token=simple", "--bcrypt-cost=4"],
  });
  await allowUser();
}, 60_000);
afterAll(async () => {
  await cluster?.stop();
  await rm(folder, { recursive: true, force: true });
});

const optionsOf = (more: Partial<EtcdStoreOptions> = {}): EtcdStoreOptions => ({
  clock: systemClock,
  rng: systemRng,
  endpoints: cluster.endpoints,
  site: SITE,
  manager: "a",
  prefix: "muster/alpha.example/",
  tls,
  auth,
  readMs: 1_000,
  ...more,
});
const open = (more: Partial<EtcdStoreOptions> = {}) => openEtcdStore(optionsOf(more));

describe("the etcd store over TLS, with users", () => {
  it("works with a certificate of its own and a user that has rights below its prefix alone", async () => {
    const store = await opened(open());
    expect(await store.commit([{ kind: "put", key: "a", value: 1 }])).toEqual({ kind: "committed" });
    expect(await readAll(store, "")).toEqual([["a", 1]]);
    await store.close();
  });

  it("gets a new token when etcd forgot the old one, also within a commit", async () => {
    const store = await opened(open());
    await store.commit([{ kind: "put", key: "a", value: 1 }]);
    // Members keep tokens in memory.
    await cluster.kill(0);
    await cluster.restart(0);
    const many = Array.from({ length: 300 }, (_, index) => ({ kind: "put" as const, key: `n/${index}`, value: 1 }));
    expect(await store.commit(many)).toEqual({ kind: "committed" });
    expect(await readAll(store, "n/")).toHaveLength(300);
    await store.close();
  });

  it.each([
    ["a wrong password", { auth: { user: "muster", password: "wrong" } }, /authentication failed.*check user/],
    ["no user", { auth: undefined }, /user name is empty.*check user/],
    ["a prefix that the user has no rights for", { prefix: "other/" }, /permission denied.*rights below the prefix/],
    ["a certificate that names a user", { named: true }, /CommonName.*subject has no CN/],
  ])(
    "says what is wrong with %s",
    async (_, { named = false, ...more }: { named?: boolean } & Partial<EtcdStoreOptions>, message) => {
      const own = { ca: tls.ca, cert: text("named.crt"), key: text("named.key") };
      const refused = await open({ ...more, ...(named && { tls: own }) });
      expect(refused).toMatchObject({ ok: false, error: { kind: "unusable", message } });
      if (!refused.ok) expect(refused.error.message).not.toContain("wrong");
    },
  );

  it("S1: takes no member whose certificate its authority did not sign, and no member takes a stranger", async () => {
    const impostor = await open({ tls: { ...tls, ca: text("stranger.crt") } });
    expect(impostor).toMatchObject({ ok: false, error: { kind: "unavailable", message: /certificate/ } });
    const bare = await open({ tls: { ca: tls.ca } });
    expect(bare).toMatchObject({ ok: false });
    const intruder = await open({ tls: { ca: tls.ca, cert: text("intruder.crt"), key: text("intruder.key") } });
    expect(intruder).toMatchObject({ ok: false });
  });

  it("keeps its token while it waits for the lead: a new one costs etcd as much as a login", async () => {
    const store = await opened(open());
    const asked = vi.spyOn(Gateway.prototype, "ask");
    const tryAgain = etcdStoreOpener(optionsOf({ manager: "b" }));
    for (let round = 0; round < 3; round += 1)
      expect(await tryAgain()).toMatchObject({ ok: false, error: { kind: "locked" } });
    expect(asked.mock.calls.filter(([{ path }]) => path === "/v3/auth/authenticate")).toHaveLength(1);
    asked.mockRestore();
    await store.close();
    await (await opened(tryAgain())).close();
  });

  it("watches with a token", async () => {
    const client = new EtcdClient({ clock: systemClock, endpoints: cluster.endpoints, tls, auth });
    const store = await opened(open());
    const heard = Promise.withResolvers<string>();
    const ended = Promise.withResolvers<string>();
    const watch = await client.watch({
      prefix: "muster/alpha.example/record/",
      fromRevision: 1,
      onCreated: () => {},
      onEvents: (events) => {
        if (events.some(({ kv }) => kv.key.endsWith("/watched"))) heard.resolve("heard");
      },
      onEnd: ({ kind }) => {
        ended.resolve(kind);
        heard.resolve("ended");
      },
    });
    await store.commit([{ kind: "put", key: "watched", value: 1 }]);
    expect(await heard.promise).toBe("heard");
    watch.close();
    expect(await ended.promise).toBe("broken");
    await store.close();
    client.close();
  });
});

async function opened(opening: ReturnType<typeof openEtcdStore>): Promise<Store> {
  const result = await opening;
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

/** A user with a role for the site's prefix, then authentication switched on: as an admin does with etcdctl. */
async function allowUser(): Promise<void> {
  const key = Buffer.from("muster/alpha.example/").toString("base64");
  const rangeEnd = Buffer.from("muster/alpha.example0").toString("base64");
  await ask("/v3/auth/user/add", { name: "root", password: "root" });
  await ask("/v3/auth/role/add", { name: "root" });
  await ask("/v3/auth/user/grant", { user: "root", role: "root" });
  await ask("/v3/auth/user/add", { name: auth.user, password: auth.password });
  await ask("/v3/auth/role/add", { name: "site" });
  await ask("/v3/auth/role/grant", { name: "site", perm: { permType: "READWRITE", key, range_end: rangeEnd } });
  await ask("/v3/auth/user/grant", { user: auth.user, role: "site" });
  await ask("/v3/auth/enable", {});
}

function ask(path: string, body: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const asking = request(`https://${ADDRESS}:2379${path}`, { ...tls, method: "POST" }, (response) => {
      response.resume();
      response.on("end", () =>
        response.statusCode === 200 ? resolve() : reject(new Error(`${path}: ${response.statusCode}`)),
      );
    });
    asking.on("error", reject);
    asking.end(JSON.stringify(body));
  });
}

async function makeAuthority(name: string): Promise<void> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", `${name}.key`];
  await run("openssl", ["req", "-x509", ...key, "-subj", `/CN=${name}`, "-days", "2", "-out", `${name}.crt`], {
    cwd: folder,
  });
}

async function makeCertificate(name: string, authority: string, subject = `/O=${name}`): Promise<void> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", `${name}.key`];
  await run("openssl", ["req", ...key, "-subj", subject, "-out", `${name}.csr`], { cwd: folder });
  await writeFile(
    join(folder, `${name}.ext`),
    `subjectAltName=IP:${ADDRESS}\nextendedKeyUsage=serverAuth,clientAuth\n`,
  );
  const sign = ["-CA", `${authority}.crt`, "-CAkey", `${authority}.key`, "-CAcreateserial", "-days", "2"];
  await run(
    "openssl",
    ["x509", "-req", "-in", `${name}.csr`, ...sign, "-extfile", `${name}.ext`, "-out", `${name}.crt`],
    { cwd: folder },
  );
}

function text(name: string): string {
  return readFileSync(join(folder, name), "utf8");
}
