import { describe, expect, it } from "vitest";
import { TOKENS } from "../leadership/test-bed.fixture.ts";
import { startBed } from "./api-bed.fixture.ts";

const bed = await startBed();
const operate = (vm: string, body: object, { key, token = TOKENS.admin }: { key?: string; token?: string } = {}) =>
  bed.send("POST", `/v1/vms/${vm}/operations`, {
    body,
    token,
    headers: key === undefined ? {} : { "idempotency-key": key },
  });

async function ended(vm: string) {
  await expect
    .poll(async () => (await bed.get(`/v1/vms/${vm}`)).body, { timeout: 20_000, interval: 50 })
    .toMatchObject({ operation: { state: expect.not.stringMatching("pending") } });
  return (await bed.get(`/v1/vms/${vm}`)).body;
}

describe("POST /v1/vms/{id}/operations", () => {
  it("L3: answers 202 with what is stored, the host's word ends it, and lists tell what it made", async () => {
    await bed.create({ name: "web" });
    await bed.untilPhase("web", "running");
    expect(await operate("web", { kind: "create-snapshot", name: "a" }, { key: "one" })).toMatchObject({
      status: 202,
      body: { operation: { operation: { kind: "create-snapshot", name: "a" } } },
    });
    expect(await ended("web")).toMatchObject({ operation: { state: "done" }, snapshots: [{ name: "a" }] });
    expect((await bed.get("/v1/vms/web/snapshots")).body).toMatchObject({ items: [{ name: "a", state: "running" }] });
    expect((await operate("web", { kind: "create-snapshot", name: "a" }, { key: "one" })).status).toBe(202);
    expect(await operate("web", { kind: "create-snapshot", name: "b" }, { key: "one" })).toMatchObject({ status: 409 });
    await operate("web", { kind: "delete-snapshot", name: "a" });
    await ended("web");
    await operate("web", { kind: "create-volume", name: "data", sizeGiB: 2 });
    await ended("web");
    expect((await bed.get("/v1/vms/web/volumes")).body).toEqual({
      items: [{ name: "data", sizeGiB: 2, attached: true }],
    });
    await operate("web", { kind: "save" });
    expect(await ended("web")).toMatchObject({ phase: "stopped", wanted: "stopped" });
  });

  it.each([
    ["no kind", {}, "kind"],
    ["an unknown kind", { kind: "explode" }, "kind"],
    ["a name with a slash", { kind: "create-snapshot", name: "../up" }, "name"],
    ["no size", { kind: "create-volume", name: "data" }, "sizeGiB"],
    ["a size of nothing", { kind: "create-volume", name: "data", sizeGiB: 0 }, "sizeGiB"],
    ["a resize that changes nothing", { kind: "resize" }, ""],
    ["an unknown key", { kind: "save", fast: true }, "fast"],
  ])("S1: refuses %s, naming the field", async (_what, body, field) => {
    expect(await operate("web", body)).toMatchObject({ status: 400, body: { faults: [{ field }] } });
  });

  it("tells what is in the way: 404, 409 and 403 with a sentence", async () => {
    expect(await operate("nobody", { kind: "save" })).toMatchObject({ status: 404 });
    expect(await operate("web", { kind: "revert-snapshot", name: "z" })).toMatchObject({
      status: 409,
      body: { reason: "is-saved", detail: expect.stringContaining("start it first") },
    });
    await bed.create({ name: "theirs", project: "vault" });
    await bed.untilPhase("theirs", "running");
    expect((await operate("theirs", { kind: "save" }, { token: TOKENS.user })).status).toBe(404);
    expect((await bed.get("/v1/vms/theirs/volumes", TOKENS.user)).status).toBe(404);
  });
});

describe("a stop by force", () => {
  it("is taken with force=true, and of nothing but a stop", async () => {
    await bed.create({ name: "deaf" });
    await bed.untilPhase("deaf", "running");
    expect((await bed.send("POST", "/v1/vms/deaf/suspend?force=true")).status).toBe(400);
    expect((await bed.send("POST", "/v1/vms/deaf/stop?force=maybe")).status).toBe(400);
    expect((await bed.send("POST", "/v1/vms/deaf/stop?force=true")).status).toBe(202);
    await bed.untilPhase("deaf", "stopped");
    const told = [...bed.hosts.values()].flatMap(({ commands }) => commands.map(({ action }) => action));
    expect(told).toContain("cut-off");
    expect(told).not.toContain("stop");
  });
});
