import { describe, expect, it } from "vitest";
import type { Json } from "../leadership/test-bed.fixture.ts";
import { startBed } from "./api-bed.fixture.ts";

const bed = await startBed();

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
