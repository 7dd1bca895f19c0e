import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateSiteKey, pemOf } from "@muster/broker";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SPEC, until } from "./leadership/test-bed.fixture.ts";
import { EtcdCluster } from "./store/etcd-cluster.fixture.ts";

const TOKEN = "token-nobody-may-see";
const SECRET = "secret-nobody-may-see";

let folder: string;
const running: Manager[] = [];
let etcd: EtcdCluster | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-main-"));
  await writeFile(join(folder, "secret"), `${SECRET}\n`);
  await writeFile(join(folder, "key.pem"), pemOf(generateSiteKey()));
  const sha256 = createHash("sha256").update(TOKEN).digest("hex");
  const tokens = [{ name: "t", sha256, user: "admin", role: "admin", projects: ["*"] }];
  await writeFile(join(folder, "tokens.yaml"), JSON.stringify({ tokens }));
});
afterEach(async () => {
  for (const manager of running.splice(0)) await manager.end("SIGKILL");
  await etcd?.stop();
  etcd = undefined;
  await rm(folder, { recursive: true });
});

/** Nobody listens on port 1 there: the manager leads without a server. */
const CONFIG = {
  site: "alpha.test",
  xmpp: { host: "127.0.63.1", port: 1, secretFile: "secret" },
  store: { path: "store" },
  api: { host: "127.0.63.1", port: 0, tokensFile: "tokens.yaml" },
  siteKeyFile: "key.pem",
  images: [{ tag: "debian-12" }],
  logLevel: "trace",
};

async function etcdStore(): Promise<object> {
  etcd = await EtcdCluster.start({ addresses: ["127.0.71.31"] });
  return { kind: "etcd", endpoints: etcd.endpoints };
}

class Manager {
  output = "";
  errors = "";
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;

  constructor(args: readonly string[]) {
    const main = join(import.meta.dirname, "main.ts");
    this.child = spawn(process.execPath, ["--conditions=muster-source", "--no-warnings", main, ...args]);
    this.child.stdout?.on("data", (chunk) => {
      this.output += chunk;
    });
    this.child.stderr?.on("data", (chunk) => {
      this.errors += chunk;
    });
    this.exited = once(this.child, "close").then(([code]) => code);
    running.push(this);
  }

  says(text: string): Promise<void> {
    return until(`it says ${text}`, () => this.output.includes(text), 15_000);
  }

  get url(): string {
    const [, port = ""] = /"addresses":\[\{[^}]*"port":(\d+)/.exec(this.output) ?? [];
    return `http://127.0.63.1:${port}`;
  }

  async send(
    method: string,
    path: string,
    body?: object,
  ): Promise<{ status: number; text: string; location: string | null }> {
    const reply = await fetch(`${this.url}${path}`, {
      method,
      redirect: "manual",
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json", "idempotency-key": "r1" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: reply.status, text: await reply.text(), location: reply.headers.get("location") };
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.child.kill(signal);
    return this.exited;
  }
}

async function withConfig(more: object = {}, name = "cluster.yaml"): Promise<Manager> {
  const file = join(folder, name);
  await writeFile(file, JSON.stringify({ ...CONFIG, ...more }));
  return new Manager(["--config", file]);
}

const LOGGED_IN_AT = {
  domain: "beta.test",
  publicKey: "A".repeat(43),
  reach: { kind: "client", jid: "a@beta.test", server: "xmpps://beta.test:5223", passwordFile: "no-password" },
};

describe("the process of a cluster manager", () => {
  it("ends with 2 and the usage where it is not told its configuration", async () => {
    for (const args of [[], ["--confg", "x"]]) {
      const manager = new Manager(args);
      expect(await manager.exited).toBe(2);
      expect(manager.errors).toContain("usage: main.ts --config FILE");
    }
  });

  it.each([
    [{ hots: [] }, 'did you mean "hosts"?'],
    [{ xmpp: { ...CONFIG.xmpp, secretFile: "nowhere" } }, "nowhere does not exist"],
    [{ api: { ...CONFIG.api, tokensFile: "secret" } }, "secret"],
    [{ siteKeyFile: "tokens.yaml" }, "the site key cannot be read"],
    [{ store: { kind: "etcd", endpoints: ["https://127.0.71.30:2379"], caFile: "no-ca" } }, "no-ca does not exist"],
    [{ siteKeyFile: "key", peers: [LOGGED_IN_AT] }, "no-password does not exist"],
  ])("ends with 2 and the remedy on %j", async (more, remedy) => {
    const manager = await withConfig(more);
    expect(await manager.exited).toBe(2);
    expect(manager.errors).toContain(remedy);
    expect(manager.errors + manager.output).not.toContain(SECRET);
  });

  it("serves while the XMPP server is away, says so, ends with 0 on SIGTERM, and logs no secret (S3)", async () => {
    const manager = await withConfig();
    await manager.says("the API listens");
    await until("it leads", async () => (await manager.send("GET", "/v1/site")).status === 200);
    expect((await manager.send("GET", "/healthz")).status).toBe(200);
    const ready = await manager.send("GET", "/readyz");
    expect(ready).toMatchObject({ status: 503, text: expect.stringContaining("XMPP link") });
    expect((await manager.send("GET", "/v1/site")).text).toContain('"term":1');
    expect(await manager.end("SIGTERM")).toBe(0);
    expect(manager.output + manager.errors).not.toMatch(new RegExp(`${TOKEN}|${SECRET}|PRIVATE KEY`));
  });

  it.each([
    ["level", async () => CONFIG.store],
    ["etcd", etcdStore],
  ])("L1, L3: over %s: stands by while another leads, and takes over with all it acknowledged", async (_, storeOf) => {
    const store = await storeOf();
    const first = await withConfig({ store });
    await first.says('"leading"');
    const second = await withConfig({ store, name: "b" }, "second.yaml");
    await second.says("standing by");
    expect(await second.send("GET", "/healthz")).toMatchObject({ status: 200 });
    expect(await second.send("GET", "/readyz")).toMatchObject({
      status: 503,
      text: expect.stringContaining("stands by"),
    });
    const accepted = await first.send("POST", "/v1/vms", { name: "kept", spec: SPEC });
    expect(accepted.status).toBe(202);
    await first.end("SIGKILL");
    await second.says('"leading"');
    await until("it serves", async () => (await second.send("GET", "/v1/site")).status === 200);
    expect((await second.send("GET", "/v1/site")).text).toContain('"leader":"b","term":2');
    expect(await second.send("GET", "/v1/requests/r1")).toMatchObject({
      status: 200,
      text: expect.stringContaining("kept"),
    });
    expect(await second.end("SIGINT")).toBe(0);
  });

  it.each([
    ["level", async () => CONFIG.store],
    ["etcd", etcdStore],
  ])("over %s: sends whoever asks a standby to the leader, and says how the site stands", async (kind, storeOf) => {
    const store = await storeOf();
    const first = await withConfig({ store });
    await first.says('"leading"');
    const second = await withConfig({ name: "b", store }, "second.yaml");
    await second.says("standing by");
    await until("the leader serves", async () => (await first.send("GET", "/v1/site")).status === 200);
    const site = await second.send("GET", "/v1/site");
    expect(site).toMatchObject({ status: 200, text: expect.stringContaining('"leader":"a","term":1') });
    expect(site.text).toContain(`"store":"${kind}"`);
    const stranger = await fetch(`${second.url}/v1/site`);
    expect(stranger.status).toBe(401);
    // What was sent on once is not sent on again: two who take each other for the leader do not ask in circles.
    const circling = await fetch(`${second.url}/v1/site`, { headers: { "muster-relayed": "1" }, redirect: "manual" });
    expect(circling.status).toBe(307);
    for (const [method, path] of [
      ["GET", "/v1/vms?limit=3"],
      ["POST", "/v1/vms"],
    ] as const) {
      const sent = await second.send(method, path, method === "POST" ? {} : undefined);
      expect(sent).toMatchObject({ status: 307, text: expect.stringContaining('"kind":"not-leader"') });
      expect(sent.location).toBe(`${first.url}${path}`);
    }
  });

  it("refuses a second manager of the same name over the same store, and leaves the first one alone", async () => {
    const first = await withConfig();
    await first.says('"leading"');
    const second = await withConfig({}, "second.yaml");
    expect(await second.exited).toBe(2);
    expect(second.output).toContain('another manager named \\"a\\" runs over');
    expect((await first.send("GET", "/v1/site")).status).toBe(200);
  });

  it.each([
    ["not-authorized", 2],
    ["conflict", 3],
  ])("ends when the XMPP server answers %s, with %i and what to check", async (condition, code) => {
    const server = await refusingServer(condition);
    const { port } = server.address() as AddressInfo;
    const manager = await withConfig({ xmpp: { ...CONFIG.xmpp, host: "127.0.0.1", port } });
    expect(await manager.exited).toBe(code);
    expect(manager.output).toContain("check site, xmpp.secretFile");
    expect(manager.output).not.toContain(SECRET);
    server.close();
  });

  it("says that the address of the API is taken, and ends with 1", async () => {
    const first = await withConfig();
    await first.says("the API listens");
    const [, port] = /"port":(\d+)/.exec(first.output) ?? [];
    const second = await withConfig(
      { name: "b", store: { path: "other" }, api: { ...CONFIG.api, port: Number(port) } },
      "second.yaml",
    );
    expect(await second.exited).toBe(1);
    expect(second.output).toContain("EADDRINUSE");
  });
});

/** As much of a server's component port (XEP-0114) as it takes to refuse everybody. */
async function refusingServer(condition: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      if (data.includes("<stream:stream"))
        socket.write(
          "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' " +
            "xmlns:stream='http://etherx.jabber.org/streams' from='cloud.alpha.test' id='s1'>",
        );
      if (data.includes("<handshake"))
        socket.end(
          `<stream:error><${condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>`,
        );
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}
