import { describe, expect, it } from "vitest";
import { TestBed, until } from "../leadership/test-bed.fixture.ts";

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
