import { describe, expect, it } from "vitest";
import { TOKENS } from "../leadership/test-bed.fixture.ts";
import { startBed, wished } from "./api-bed.fixture.ts";

const bed = await startBed();

describe("tokens and roles", () => {
  it("answers 401 with WWW-Authenticate where there is no token, or a wrong one", async () => {
    const none = await bed.send("GET", "/v1/vms", { token: undefined });
    expect(none).toMatchObject({ status: 401, headers: { "www-authenticate": 'Bearer realm="muster"' } });
    const wrong = await bed.get("/v1/vms", "not-a-token");
    expect(wrong).toMatchObject({ status: 401, body: { reason: "invalid-token" } });
    expect(String(wrong.headers["www-authenticate"])).toContain("invalid_token");
    const before = wished(bed);
    expect((await bed.create({ name: "nobody" }, { token: "wrong" })).status).toBe(401);
    expect(wished(bed)).toEqual(before);
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
