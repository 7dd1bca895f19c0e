import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { SPEC, TestBed, TICKETS, TOKENS, until } from "../leadership/test-bed.fixture.ts";
import { MemoryDisk } from "../store/memory-store.ts";

const scratch = mkdtempSync(join(tmpdir(), "api-images-"));
const folder = join(scratch, "images");
const disk = new MemoryDisk();
const config = { imageStore: { folder, capacityGiB: 0.01 } };
const servers: Server[] = [];
let bed: TestBed;
let good: Buffer;

const digestOf = (content: Buffer): string => `sha256:${createHash("sha256").update(content).digest("hex")}`;
const fileOf = (digest: string): string => join(folder, digest.replace(":", "-"));

function qcow2(name: string, ...options: string[]): Buffer {
  const path = join(scratch, name);
  execFileSync("qemu-img", ["create", "-f", "qcow2", ...options, path, "1M"], { stdio: "ignore" });
  return readFileSync(path);
}

beforeAll(async () => {
  bed = await TestBed.start({ disk, config, hosts: ["h1"] });
  good = qcow2("good.qcow2");
});
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});
afterAll(async () => {
  await bed.stop();
  rmSync(scratch, { recursive: true });
});

async function serve(answer: (reply: ServerResponse) => void): Promise<string> {
  const server = createServer((_request, reply) => answer(reply));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.52.0.2", resolve));
  const address = server.address();
  return `http://127.52.0.2:${typeof address === "object" ? address?.port : 0}/image`;
}

const add = (body: object, token = TOKENS.admin) => bed.send("POST", "/v1/images", { body, token });

async function send(digest: string, content: Buffer, headers: Record<string, string> = {}) {
  const reply = await bed.manager.api.inject({
    method: "PUT",
    url: `/v1/images/${digest}/content`,
    headers: { authorization: `Bearer ${TOKENS.admin}`, "content-type": "application/octet-stream", ...headers },
    payload: content,
  });
  return { status: reply.statusCode, body: JSON.parse(reply.body) };
}

/** Adds it and sends it, and expects a refusal after which nothing of it is left in the folder. */
async function expectRefused(content: Buffer, claimed: object, reason: string): Promise<void> {
  const digest = digestOf(content);
  const before = readdirSync(folder);
  expect((await add({ digest, ...claimed })).status).toBe(201);
  const sent = await send(digest, content);
  expect(sent).toMatchObject({ status: 422, body: { reason } });
  expect(readdirSync(folder)).toEqual(before);
  expect((await bed.get(`/v1/images/${digest}`)).body).toMatchObject({ state: "pending" });
  expect((await bed.send("DELETE", `/v1/images/${digest}`)).status).toBe(200);
}

describe("sending an image", () => {
  it("stores it under its digest, looks into it, and gives it to VMs and to hosts with a ticket", async () => {
    const digest = digestOf(good);
    const added = await add({ digest, tags: ["tiny"], minMemoryMiB: 96 });
    expect(added).toMatchObject({
      status: 201,
      body: { state: "pending", reason: "its content was not uploaded yet" },
    });
    const sent = await send(digest, good);
    expect(sent).toMatchObject({ status: 200, body: { state: "available", bytes: good.length, virtualMiB: 1 } });
    expect(readFileSync(fileOf(digest)).equals(good)).toBe(true);
    expect(await send(digest, good)).toMatchObject({ status: 200 });

    await bed.create({ name: "guest", spec: { ...SPEC, image: "tiny" } });
    const vm = await bed.untilPhase("guest", "running");
    expect(vm.imageDigest).toBe(digest);

    const url = new URL(TICKETS.urlOf("http://any", digest, bed.manager.loop.nowMs()));
    const read = await bed.manager.api.inject({ method: "GET", url: url.pathname + url.search });
    expect(read.statusCode).toBe(200);
    expect(read.rawPayload.equals(good)).toBe(true);
    expect((await bed.send("DELETE", "/v1/images/tiny")).body).toMatchObject({ reason: "image-in-use" });
  });

  it("B5: gives the content to nobody without a ticket of this image that is still good", async () => {
    const digest = digestOf(good);
    const get = async (ticket: string): Promise<number> =>
      (await bed.manager.api.inject({ method: "GET", url: `/v1/images/${digest}/content?ticket=${ticket}` }))
        .statusCode;
    const nowMs = bed.manager.loop.nowMs();
    const ticketOf = (of: string, atMs: number): string =>
      new URL(TICKETS.urlOf("http://any", of, atMs)).searchParams.get("ticket") ?? "";
    expect(await get("")).toBe(401);
    expect(await get("x".repeat(60))).toBe(401);
    expect(await get(ticketOf(`sha256:${"0".repeat(64)}`, nowMs))).toBe(401);
    expect(await get(ticketOf(digest, nowMs - 24 * 3_600_000))).toBe(401);
    expect(await get(ticketOf(digest, nowMs))).toBe(200);
  });

  it("refuses another digest, and leaves nothing of it", async () => {
    const digest = `sha256:${"5".repeat(64)}`;
    await add({ digest });
    expect(await send(digest, good)).toMatchObject({ status: 422, body: { reason: "image-wrong-digest" } });
    expect(readdirSync(folder)).toEqual([fileOf(digestOf(good)).split("/").at(-1)]);
    await bed.send("DELETE", `/v1/images/${digest}`);
  });

  it("refuses a backing file, a raw image with a qcow2 header, and a truncated image", async () => {
    await expectRefused(qcow2("backed.qcow2", "-F", "raw", "-b", "/etc/hostname"), {}, "image-backing-file");
    const other = qcow2("other.qcow2", "-o", "cluster_size=4096");
    await expectRefused(other, { format: "raw" }, "image-wrong-format");
    await expectRefused(Buffer.concat([other.subarray(0, 60)]), {}, "image-truncated");
  });

  it("S2: refuses what the store has no room for, by its length before it comes and by its bytes", async () => {
    const large = Buffer.alloc(11 * 2 ** 20);
    const digest = digestOf(large);
    await add({ digest, format: "raw" });
    const sent = await send(digest, large);
    expect(sent).toMatchObject({ status: 422, body: { reason: "image-too-large" } });
    expect(readdirSync(folder)).toHaveLength(1);
    await bed.send("DELETE", `/v1/images/${digest}`);
  });

  it("refuses those who may not, what is not there, and what is no stream", async () => {
    const digest = digestOf(good);
    const viewer = { authorization: `Bearer ${TOKENS.viewer}` };
    expect(await send(digest, good, viewer)).toMatchObject({ status: 403 });
    expect(await send(digest, good, { authorization: "Bearer wrong" })).toMatchObject({ status: 401 });
    expect(await send(`sha256:${"9".repeat(64)}`, good)).toMatchObject({ status: 404 });
    expect(await send("sha256:nonsense", good)).toMatchObject({ status: 404 });
    expect(await send(digest, good, { "content-type": "application/json" })).toMatchObject({ status: 400 });
    expect(await add({ digest, url: "https://ann:secret@images.example/x" })).toMatchObject({
      status: 400,
      body: { faults: [{ field: "url" }] },
    });
    expect(await add({ digest: "nonsense" })).toMatchObject({ status: 400, body: { faults: [{ field: "digest" }] } });
    expect(await add({ digest, url: "file:///etc/passwd" })).toMatchObject({
      status: 400,
      body: { faults: [{ field: "url" }] },
    });
  });

  it("says that the site keeps no images where none are configured", async () => {
    const plain = await TestBed.start({ domain: "plain.test" });
    const reply = await plain.send("POST", "/v1/images", { body: { digest: digestOf(good) } });
    expect(reply).toMatchObject({ status: 422, body: { reason: "no-image-store" } });
    await plain.stop();
  });
});

describe("an image with a URL", () => {
  it("is fetched once, with its progress shown, and is available then", async () => {
    const content = qcow2("fetched.qcow2", "-o", "cluster_size=8192");
    const digest = digestOf(content);
    let release: () => void = () => {};
    let asked = 0;
    const url = await serve((reply) => {
      asked += 1;
      reply.writeHead(200, { "content-length": content.length });
      reply.write(content.subarray(0, 1_000));
      release = () => reply.end(content.subarray(1_000));
    });
    await add({ digest, tags: ["fetched"], url });
    const shown = async () => (await bed.get("/v1/images/fetched")).body;
    await until("its beginning has come", async () => Number((await shown()).progress?.bytes) === 1_000);
    expect(await shown()).toMatchObject({ state: "pending", progress: { totalBytes: content.length } });
    release();
    await until("it is available", async () => String((await shown()).state) === "available");
    expect(asked).toBe(1);
    expect(readFileSync(fileOf(digest)).equals(content)).toBe(true);
    await bed.send("DELETE", "/v1/images/fetched");
    await until("its file is gone", () => !readdirSync(folder).includes(digest.replace(":", "-")));
  });

  it("says what is wrong with what came, and leaves nothing of it", async () => {
    const url = await serve((reply) => reply.end("something else"));
    const digest = `sha256:${"7".repeat(64)}`;
    await add({ digest, tags: ["wrong"], url });
    await until("it has failed", async () =>
      String((await bed.get("/v1/images/wrong")).body.reason).includes("could not be fetched: it should be"),
    );
    expect(readdirSync(folder)).not.toContain(digest.replace(":", "-"));
    const asked = await bed.create({ name: "no", spec: { ...SPEC, image: "wrong" } });
    expect(asked).toMatchObject({ status: 422, body: { reason: "image-pending" } });
    await bed.send("DELETE", "/v1/images/wrong");
  });

  it("waits for approval where a user added it, and only an admin approves", async () => {
    const content = qcow2("users.qcow2", "-o", "cluster_size=16384");
    let asked = 0;
    const url = await serve((reply) => {
      asked += 1;
      reply.end(content);
    });
    const body = { digest: digestOf(content), tags: ["users"], url, projects: ["default"] };
    expect(await add(body, TOKENS.viewer)).toMatchObject({ status: 403 });
    expect(await add(body, TOKENS.user)).toMatchObject({ status: 201, body: { approved: false, state: "pending" } });
    expect((await bed.get("/v1/images/users", TOKENS.other)).status).toBe(404);
    const approve = (token: string) => bed.send("POST", "/v1/images/users/approve", { token });
    expect((await approve(TOKENS.user)).status).toBe(403);
    expect(asked).toBe(0);
    expect((await approve(TOKENS.admin)).body).toMatchObject({ approved: true });
    await until("it is available", async () => String((await bed.get("/v1/images/users")).body.state) === "available");
    await bed.send("DELETE", "/v1/images/users");
  });
});

describe("the next leader", () => {
  it("fetches what the one before did not end, and removes what that left half done", async () => {
    const content = qcow2("resumed.qcow2", "-o", "cluster_size=32768");
    const digest = digestOf(content);
    let hang = true;
    const url = await serve((reply) => {
      reply.writeHead(200, { "content-length": content.length });
      if (hang) reply.write(content.subarray(0, 100));
      else reply.end(content);
    });
    await add({ digest, tags: ["resumed"], url });
    await until("it is under way", async () => Number((await bed.get("/v1/images/resumed")).body.progress?.bytes) > 0);
    await bed.stop();
    hang = false;
    writeFileSync(`${fileOf(`sha256:${"3".repeat(64)}`)}.part`, "half");
    bed = await TestBed.start({ disk, config });
    await until(
      "it is available",
      async () => String((await bed.get("/v1/images/resumed")).body.state) === "available",
    );
    expect(readdirSync(folder).filter((name) => name.endsWith(".part"))).toEqual([]);
    expect((await bed.get("/v1/vms/guest")).body).toMatchObject({ imageDigest: digestOf(good) });
  });
});
