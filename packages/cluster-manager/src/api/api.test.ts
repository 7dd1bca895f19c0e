import { request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { describeFaults } from "@muster/base";
import { decodeJoinBundle, enrolmentSchema, NS_ENROL, problemSchema } from "@muster/protocol";
import * as fc from "fast-check";
import { Element } from "ltx";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Json, newNetwork, SPEC, TestBed, TOKENS, until } from "../leadership/test-bed.fixture.ts";
import { MemoryDisk } from "../store/memory-store.ts";

let bed: TestBed;
beforeAll(async () => {
  bed = await TestBed.start({ hosts: ["h1", "h2"] });
});
afterAll(() => bed.stop());

/** Everything anybody asked for, as stored. */
const wished = (): string[] => [...bed.disk.records.keys()].filter((key) => /^(vm|request|host)\//.test(key)).sort();
const spec = (more: object): object => ({ spec: { ...SPEC, ...more } });

describe("POST /v1/vms", () => {
  it("L3: answers 202 with what is stored, and the VM comes to run", async () => {
    const reply = await bed.create({ name: "first", count: 2 }, { key: "first" });
    expect(reply).toMatchObject({
      status: 202,
      headers: { location: "/v1/requests/first", "idempotency-replayed": "false" },
    });
    expect(bed.disk.records.has("request/first")).toBe(true);
    const vm = await bed.untilPhase("first-1", "running");
    expect(vm).toMatchObject({ place: { kind: "host" }, attempt: 1, user: "admin", project: "default" });
    expect((await bed.get("/v1/requests/first")).body.vms).toHaveLength(2);
  });

  it("B1: same key and body is the same request; same key and other body a conflict", async () => {
    const first = await bed.create({ name: "twin" }, { key: "twin" });
    const again = await bed.create({ name: "twin" }, { key: "twin" });
    expect(again).toMatchObject({ status: 202, headers: { "idempotency-replayed": "true" } });
    expect(again.body.vms?.[0]?.id).toBe(first.body.vms?.[0]?.id);
    const other = await bed.create({ name: "other" }, { key: "twin" });
    expect(other).toMatchObject({ status: 409, body: { kind: "conflict" } });
  });

  it("makes up a key where there is none", async () => {
    const one = await bed.create({ name: "nokey-1" });
    const two = await bed.create({ name: "nokey-2" });
    expect(one.body.request).not.toBe(two.body.request);
  });

  it("explains a dry run and changes nothing", async () => {
    const before = wished();
    const reply = await bed.send("POST", "/v1/vms?dryRun=true", { body: { name: "maybe", spec: SPEC } });
    expect(reply).toMatchObject({ status: 200, body: { candidates: [{ kind: "host" }, { kind: "host" }] } });
    expect(wished()).toEqual(before);
    expect((await bed.get("/v1/vms?name=maybe")).body.items).toEqual([]);
  });
});

const BAD_BODIES: readonly (readonly [string, object, string])[] = [
  ["zero vCPUs", spec({ vcpus: 0 }), "spec.vcpus"],
  ["negative memory", spec({ memoryMiB: -1 }), "spec.memoryMiB"],
  ["a fraction of a GiB", spec({ diskGiB: 1.5 }), "spec.diskGiB"],
  ["an absurd size", spec({ memoryMiB: 1e15 }), "spec.memoryMiB"],
  ["a size as text", spec({ vcpus: "2" }), "spec.vcpus"],
  ["a missing size", { spec: { image: "debian-12", vcpus: 1, diskGiB: 1 } }, "spec.memoryMiB"],
  ["a missing spec", { spec: undefined }, "spec"],
  ["an unknown key", { colour: "red" }, "colour"],
  ["an unknown key in the spec", spec({ vcpu: 2 }), "spec.vcpu"],
  ["a name with control characters", { name: "a\u0000b\nc" }, "name"],
  ["a name of 10 kB", { name: "x".repeat(10_000) }, "name"],
  ["a count of zero", { count: 0 }, "count"],
  ["an unreadable image", spec({ image: "../../etc/passwd" }), "spec.image"],
  ["prototype keys", JSON.parse('{"__proto__": {"role": "admin"}}'), "__proto__"],
];

describe("bad input", () => {
  it.each(BAD_BODIES)("S1: %s is refused, naming the field, and nothing changes", async (_what, body, field) => {
    const before = wished();
    const reply = await bed.create(body);
    expect(reply.status).toBe(400);
    expect(reply.headers["content-type"]).toContain("application/problem+json");
    const problem = problemSchema.parse(reply.body);
    expect(problem).toMatchObject({ kind: "bad-request", reason: "invalid-fields" });
    expect(problem.faults?.map((fault) => fault.field)).toContain(field);
    expect(describeFaults(problem.faults ?? [])).not.toBe("");
    expect(wished()).toEqual(before);
  });

  it("suggests the key that was meant", async () => {
    const reply = await bed.create(spec({ memoryMib: 5 }));
    expect(String(reply.body.detail)).toContain('did you mean "memoryMiB"?');
  });

  it("refuses an image the site does not have, naming it", async () => {
    const reply = await bed.create(spec({ image: "windows-3.11" }));
    expect(reply.status).toBeGreaterThanOrEqual(400);
    expect(reply.body).toMatchObject({ reason: expect.stringContaining("image") });
  });

  it("S2: refuses a body over 64 KiB, another content type, and what is no JSON", async () => {
    const big = await bed.send("POST", "/v1/vms", { raw: JSON.stringify({ name: "x".repeat(70_000) }) });
    expect(big).toMatchObject({ status: 413, body: { reason: "body-too-large", status: 413 } });
    const form = await bed.send("POST", "/v1/vms", { raw: "a=b", headers: { "content-type": "text/plain" } });
    expect(form).toMatchObject({ status: 415, body: { reason: "wrong-content-type" } });
    const torn = await bed.send("POST", "/v1/vms", { raw: '{"name": ' });
    expect(torn).toMatchObject({ status: 400, body: { reason: "malformed-json" } });
    const nothing = await bed.send("POST", "/v1/vms", { headers: { "content-type": "application/json" } });
    expect(nothing).toMatchObject({ status: 400, body: { reason: "invalid-fields" } });
  });

  it("refuses ids, keys, queries and paths that cannot be", async () => {
    expect(await bed.create({}, { key: "no spaces please" })).toMatchObject({
      status: 400,
      body: { reason: "invalid-idempotency-key" },
    });
    expect(await bed.get("/v1/vms?limit=0")).toMatchObject({ status: 400, body: { faults: [{ field: "limit" }] } });
    expect(await bed.get("/v1/vms?limit=501")).toMatchObject({ status: 400 });
    expect(await bed.get("/v1/vms?colour=red")).toMatchObject({ status: 400, body: { faults: [{ field: "colour" }] } });
    expect(await bed.get("/v1/nothing")).toMatchObject({ status: 404, body: { reason: "unknown-route" } });
    expect(await bed.get("/v1/vms/01890000-0000-7000-8000-000000000000")).toMatchObject({
      status: 404,
      body: { reason: "unknown-vm" },
    });
    expect(await bed.send("POST", "/v1/vms/web/explode")).toMatchObject({
      status: 400,
      body: { faults: [{ field: "action" }] },
    });
    expect(await bed.send("POST", "/v1/vms/01890000-0000-7000-8000-000000000000/stop")).toMatchObject({ status: 404 });
    expect(await bed.send("DELETE", "/v1/vms/nobody")).toMatchObject({ status: 404 });
    expect(await bed.get("/v1/hosts/h9")).toMatchObject({ status: 404, body: { reason: "unknown-host" } });
    expect(await bed.get(`/v1/vms/${"x".repeat(300)}`)).toMatchObject({ status: 414 });
    expect(await bed.get("/v1/requests/never")).toMatchObject({ status: 404 });
    expect(await bed.send("POST", "/v1/hosts", { body: { name: "Not A Host" } })).toMatchObject({ status: 400 });
  });

  it("S1: whatever JSON arrives, the answer is a problem or a request, never a fault of ours", async () => {
    await fc.assert(
      fc.asyncProperty(fc.json({ maxDepth: 4 }), async (raw) => {
        const reply = await bed.send("POST", "/v1/vms", { raw });
        expect(reply.status).toBe(400);
        problemSchema.parse(reply.body);
      }),
      { numRuns: 200 },
    );
  });

  it("S1: whatever path and query arrive, the answer is no fault of ours", async () => {
    await fc.assert(
      fc.asyncProperty(fc.webPath(), fc.webQueryParameters(), async (path, query) => {
        const reply = await bed.get(`/v1/vms${path}?${query}`);
        expect(reply.status).toBeLessThan(500);
      }),
      { numRuns: 100 },
    );
  });

  it("answers what is no HTTP with a problem, and closes", async () => {
    await bed.manager.api.listen({ host: "127.0.0.1", port: 0 });
    const { port } = bed.manager.api.server.address() as AddressInfo;
    const answer = await new Promise<string>((resolve, reject) => {
      let text = "";
      const socket = connect(port, "127.0.0.1", () => socket.write("RUBBISH\r\n\r\n"));
      socket.on("data", (chunk) => {
        text += chunk;
      });
      socket.on("close", () => resolve(text));
      socket.on("error", reject);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400 .*application\/problem\+json.*malformed-http/s);
  });
});

describe("tokens and roles", () => {
  it("answers 401 with WWW-Authenticate where there is no token, or a wrong one", async () => {
    const none = await bed.send("GET", "/v1/vms", { token: undefined });
    expect(none).toMatchObject({ status: 401, headers: { "www-authenticate": 'Bearer realm="muster"' } });
    const wrong = await bed.get("/v1/vms", "not-a-token");
    expect(wrong).toMatchObject({ status: 401, body: { reason: "invalid-token" } });
    expect(String(wrong.headers["www-authenticate"])).toContain("invalid_token");
    const before = wished();
    expect((await bed.create({ name: "nobody" }, { token: "wrong" })).status).toBe(401);
    expect(wished()).toEqual(before);
  });

  it("lets a viewer look and not change, and a user act in its projects only", async () => {
    expect((await bed.get("/v1/vms", TOKENS.viewer)).status).toBe(200);
    expect(await bed.create({}, { token: TOKENS.viewer })).toMatchObject({
      status: 403,
      body: { reason: "read-only" },
    });
    expect(await bed.create({ project: "secret" }, { token: TOKENS.user })).toMatchObject({
      status: 403,
      body: { reason: "not-your-project", faults: [{ field: "project" }] },
    });
    expect(await bed.send("POST", "/v1/hosts/h1/drain", { token: TOKENS.user })).toMatchObject({
      status: 403,
      body: { reason: "admin-only" },
    });
    expect((await bed.send("DELETE", "/v1/hosts/h1", { token: TOKENS.viewer })).status).toBe(403);
  });

  it("does not tell a VM of another project from one that is not there", async () => {
    await bed.create({ name: "mine" }, { key: "mine" });
    const seen = await bed.get("/v1/vms/mine", TOKENS.other);
    expect(seen).toMatchObject({ status: 404, body: { reason: "unknown-vm" } });
    expect((await bed.send("DELETE", "/v1/vms/mine", { token: TOKENS.other })).status).toBe(404);
    expect((await bed.get("/v1/vms", TOKENS.other)).body.items).toEqual([]);
    expect((await bed.get("/v1/requests/mine", TOKENS.other)).status).toBe(404);
  });

  it("S3: logs no token, not even a wrong one", async () => {
    await bed.get("/v1/vms", "wrong-secret-token");
    await bed.get(`/v1/vms/${TOKENS.admin}`);
    expect(bed.log.join("")).not.toMatch(/wrong-secret-token|admin-token|user-token/);
  });
});

describe("lists, VMs, hosts", () => {
  it("pages a list to its end without a gap", async () => {
    await bed.create({ name: "paged", count: 5 }, { key: "paged" });
    const all = await bed.get("/v1/vms?limit=500");
    const seen: unknown[] = [];
    for (let after: string | undefined, pages = 0; pages < 100; pages += 1) {
      const { body } = await bed.get(`/v1/vms?limit=2${after === undefined ? "" : `&after=${after}`}`);
      const items = body.items as unknown as Json[];
      expect(items.length).toBeLessThanOrEqual(2);
      seen.push(...items.map(({ id }) => id));
      if (body.next === undefined) break;
      after = String(body.next);
    }
    expect(seen).toEqual((all.body.items as unknown as Json[]).map(({ id }) => id));
    expect(seen.length).toBeGreaterThan(4);
  });

  it("stops, starts and deletes a VM as wanted, by name or id", async () => {
    const made = await bed.create({ name: "life" }, { key: "life" });
    const id = String(made.body.vms?.[0]?.id);
    const placed = await bed.get(`/v1/vms/${id}/why`);
    expect(placed.body).toMatchObject({ vm: id, candidates: expect.anything() });
    await bed.untilPhase(id, "running");
    expect(await bed.send("POST", "/v1/vms/life/stop")).toMatchObject({ status: 202, body: { wanted: "stopped" } });
    await bed.untilPhase(id, "stopped");
    expect((await bed.send("POST", `/v1/vms/${id}/start`)).status).toBe(202);
    await bed.untilPhase(id, "running");
    expect((await bed.send("DELETE", `/v1/vms/${id}`)).status).toBe(202);
    await bed.untilPhase(id, "deleted");
  });

  it("shows hosts, drains them and takes them back", async () => {
    expect((await bed.get("/v1/hosts")).body.items).toMatchObject([{ name: "h1" }, { name: "h2" }]);
    expect(await bed.send("POST", "/v1/hosts/h2/drain")).toMatchObject({ status: 200, body: { draining: true } });
    expect(await bed.send("POST", "/v1/hosts/h2/undrain")).toMatchObject({ status: 200, body: { draining: false } });
    expect(await bed.send("POST", "/v1/hosts/h9/drain")).toMatchObject({ status: 404 });
  });

  it("shows site, queue, peers and leases", async () => {
    expect((await bed.get("/v1/site")).body).toMatchObject({
      domain: "alpha.test",
      hosts: { alive: 2 },
      reconciled: true,
    });
    for (const list of ["queue", "peers", "leases"])
      expect(await bed.get(`/v1/${list}`)).toMatchObject({ status: 200, body: { items: expect.anything() } });
    expect(await bed.get("/v1/peers/nobody.test")).toMatchObject({ status: 404, body: { reason: "unknown-peer" } });
  });
});

describe("descriptions and measures", () => {
  it("describes every operation in OpenAPI 3.1, with no reference left open", async () => {
    const { body } = await bed.send("GET", "/v1/openapi.json", { token: undefined });
    expect(body.openapi).toBe("3.1.0");
    const text = JSON.stringify(body);
    for (const [, pointer = ""] of text.matchAll(/"\$ref":"#([^"]+)"/g)) {
      const found = pointer
        .split("/")
        .slice(1)
        .reduce<Json | undefined>((at, part) => at?.[part], body);
      expect(found, pointer).toBeDefined();
    }
    expect(Object.keys(body.paths ?? {}).sort()).toEqual(
      expect.arrayContaining([
        "/v1/events",
        "/v1/hosts",
        "/v1/hosts/{name}/{action}",
        "/v1/site",
        "/v1/vms",
        "/v1/vms/{id}/why",
      ]),
    );
    const vmCreate = body.components?.schemas?.VmCreate;
    expect(vmCreate).toMatchObject({ type: "object", additionalProperties: false, required: ["name", "spec"] });
    expect(text).not.toContain("$defs");
  });

  it("is healthy and ready, and counts in base units", async () => {
    expect(await bed.send("GET", "/healthz", { token: undefined })).toMatchObject({ status: 200 });
    expect(await bed.send("GET", "/readyz", { token: undefined })).toMatchObject({
      status: 200,
      body: { status: "ready" },
    });
    const { body } = await bed.send("GET", "/metrics", { token: undefined });
    const text = String(body.text);
    expect(text).toMatch(/^muster_hosts\{liveness="alive"\} 2$/m);
    expect(text).toMatch(/^muster_xmpp_online 1$/m);
    expect(text).toMatch(/^muster_store_commit_seconds_count [1-9]/m);
  });
});

describe("a store that fails", () => {
  it("L3: answers 503 with Retry-After to all, keeps what was acknowledged, and serves again when it works", async () => {
    const own = await TestBed.start({ hosts: ["h1"] });
    expect((await own.create({ name: "before" }, { key: "before" })).status).toBe(202);
    own.disk.faultOf = () => ({ kind: "failed", message: "no space left on device" });
    const failed = await own.create({ name: "during" }, { key: "during" });
    expect(failed).toMatchObject({ status: 503, body: { reason: "store-failed" }, headers: { "retry-after": "1" } });
    expect(String(failed.body.detail)).toContain("no space left");
    await until("it waits before it reads the store again", async () => {
      await own.create({ name: "during" }, { key: "during" });
      return (await own.get("/v1/vms")).status === 503;
    });
    expect(await own.send("GET", "/readyz")).toMatchObject({
      status: 503,
      body: { detail: expect.stringContaining("store") },
    });
    expect((await own.send("GET", "/metrics")).status).toBe(200);
    own.disk.faultOf = undefined;
    await until(
      "it serves again",
      async () => (await own.create({ name: "during" }, { key: "during" })).status === 202,
    );
    await own.untilPhase("before", "running");
    await own.untilPhase("during", "running");
    expect((await own.get("/v1/requests/during")).body.vms).toHaveLength(1);
    await own.stop();
  });
});

describe("GET /v1/events", () => {
  it("tells what happens as it happens, and what was missed since the last id", async () => {
    const { port } = bed.manager.api.server.address() as AddressInfo;
    const live = follow(port, {});
    await until("the stream is open", () => live.status === 200);
    await bed.create({ name: "told" }, { key: "told" });
    await until("an event arrives", () => live.text.includes("id: "));
    const [, firstId = ""] = /id: (\d+)/.exec(live.text) ?? [];
    const count = live.text.split("\nid: ").length;
    await bed.send("DELETE", "/v1/vms/told");
    await until("more arrives", () => live.text.split("\nid: ").length > count);
    live.close();
    const resumed = follow(port, { "last-event-id": firstId });
    await until("the rest is told again", () => resumed.text.includes("id: "));
    expect(resumed.text).not.toContain(`id: ${firstId}\n`);
    const [, next = ""] = /id: (\d+)/.exec(resumed.text) ?? [];
    expect(Number(next)).toBe(Number(firstId) + 1);
    resumed.close();
    const strange = follow(port, { "last-event-id": "soon" });
    await until("a strange id is refused", () => strange.status === 400);
    strange.close();
    const old = follow(port, { "last-event-id": "1" });
    await until("a gap is told", () => old.text.includes("event: missed"));
    old.close();
  });

  it("S2: refuses a follower too many, and drops none of the others", async () => {
    const { port } = bed.manager.api.server.address() as AddressInfo;
    const streams = Array.from({ length: 200 }, () => follow(port, {}));
    await until("all follow", () => streams.every(({ status }) => status === 200));
    const late = follow(port, {});
    await until("one more is refused", () => late.status === 429);
    expect(streams.every(({ ended }) => !ended)).toBe(true);
    for (const stream of [...streams, late]) stream.close();
    await until("they are gone", async () =>
      /^muster_event_followers 0$/m.test(String((await bed.get("/metrics")).body.text)),
    );
  });
});

describe("enrolment", () => {
  it("asks the server for a token, and shows the one command to run", async () => {
    const network = newNetwork();
    const server = network.component("alpha.test");
    const asked: Element[] = [];
    server.handle("set", NS_ENROL, "enrol", ({ from, payload }) => {
      expect(from).toBe("cloud.alpha.test");
      asked.push(payload);
      const { account } = payload.attrs;
      return {
        kind: "result",
        payload: new Element("enrol", { xmlns: NS_ENROL, account, token: "tok-1", "expires-seconds": 60 }),
      };
    });
    server.start();
    const own = await TestBed.start({ network, disk: new MemoryDisk() });
    const reply = await own.send("POST", "/v1/hosts", { body: { name: "h7", ttlSeconds: 60 } });
    expect(reply).toMatchObject({
      status: 201,
      body: {
        account: "host-h7@alpha.test",
        token: "tok-1",
        expiresSeconds: 60,
        command: expect.stringMatching(/^muster host join [A-Za-z0-9_-]+$/),
      },
    });
    const { command } = enrolmentSchema.parse(reply.body);
    expect(decodeJoinBundle(command.replace(/^muster host join /, ""))).toEqual({
      ok: true,
      value: { v: 1, site: "alpha.test", name: "h7", service: "xmpps://alpha.test:5223", token: "tok-1" },
    });
    expect(asked[0]?.attrs).toMatchObject({ account: "host-h7", "ttl-seconds": "60" });
    expect(own.disk.records.has("host/h7")).toBe(true);
    expect(own.log.join("")).not.toContain("tok-1");
    await own.stop();
    await server.stop();
  });

  it("says what is wrong where the server hands out none", async () => {
    const reply = await bed.send("POST", "/v1/hosts", { body: { name: "h8" } });
    expect(reply).toMatchObject({
      status: 503,
      body: { reason: "enrolment-refused", detail: expect.stringContaining("mod_muster_enrol") },
    });
    await bed.send("DELETE", "/v1/hosts/h8");
  });
});

type Stream = { text: string; status: number; ended: boolean; close(): void };

function follow(port: number, headers: Record<string, string>): Stream {
  const stream: Stream = { text: "", status: 0, ended: false, close: () => request.destroy() };
  const request = httpRequest(
    { host: "127.0.0.1", port, path: "/v1/events", headers: { authorization: `Bearer ${TOKENS.admin}`, ...headers } },
    (response) => {
      stream.status = response.statusCode ?? 0;
      response.on("data", (chunk) => {
        stream.text += chunk;
      });
      response.on("error", () => {});
      response.on("close", () => {
        stream.ended = true;
      });
    },
  );
  request.on("error", () => {});
  request.end();
  return stream;
}
