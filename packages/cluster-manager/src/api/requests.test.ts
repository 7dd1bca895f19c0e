import { connect } from "node:net";
import { describeFaults } from "@muster/base";
import { problemSchema } from "@muster/protocol";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SPEC } from "../leadership/test-bed.fixture.ts";
import { startBed, wished } from "./api-bed.fixture.ts";
import { FrontDoor } from "./front-door.ts";

const bed = await startBed();
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
    const before = wished(bed);
    const reply = await bed.send("POST", "/v1/vms?dryRun=true", { body: { name: "maybe", spec: SPEC } });
    expect(reply).toMatchObject({ status: 200, body: { candidates: [{ kind: "host" }, { kind: "host" }] } });
    expect(wished(bed)).toEqual(before);
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
    const before = wished(bed);
    const reply = await bed.create(body);
    expect(reply.status).toBe(400);
    expect(reply.headers["content-type"]).toContain("application/problem+json");
    const problem = problemSchema.parse(reply.body);
    expect(problem).toMatchObject({ kind: "bad-request", reason: "invalid-fields" });
    expect(problem.faults?.map((fault) => fault.field)).toContain(field);
    expect(describeFaults(problem.faults ?? [])).not.toBe("");
    expect(wished(bed)).toEqual(before);
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
    expect(await bed.get("/v1/vms?limit=501")).toMatchObject({
      status: 400,
      body: { faults: [{ field: "limit", message: "must be at most 500" }] },
    });
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
    const front = new FrontDoor((request, reply) => bed.manager.api.routing(request, reply));
    const { port } = await front.listen("127.0.0.1", 0);
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
    await front.close();
  });
});
