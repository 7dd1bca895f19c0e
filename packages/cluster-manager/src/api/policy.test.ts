import { generateSiteKey } from "@muster/broker";
import { afterAll, describe, expect, it } from "vitest";
import { newNetwork, SPEC, TestBed, TOKENS, until } from "../leadership/test-bed.fixture.ts";

const network = newNetwork();
const [alphaKey, betaKey] = [generateSiteKey(), generateSiteKey()];
const lend = { accept: true, share: 1, approveAbove: { vcpus: 1 }, quota: { vcpus: 4 } };
const beta = await TestBed.start({
  domain: "beta.test",
  network,
  key: betaKey,
  hosts: ["h1"],
  config: { peers: [{ domain: "alpha.test", publicKey: alphaKey.publicKey, lend }] },
});
const alpha = await TestBed.start({
  network,
  key: alphaKey,
  hosts: [],
  peers: [{ domain: "beta.test", publicKey: betaKey.publicKey }],
});
afterAll(async () => {
  await alpha.stop();
  await beta.stop();
});

const LIMIT = "/v1/peers/alpha.test/policy";
const RECORDED = { atMs: 0, cpus: 2, memoryMiB: 1_024, image: "debian-12", leaseMs: 60_000, durationMs: 600_000 };

describe("what we lend, over HTTP", () => {
  it("explains a policy rule by rule, and simulates it", async () => {
    const spec = { ...SPEC, vcpus: 8 };
    const explained = await beta.send("POST", `${LIMIT}/explain`, { body: { spec } });
    expect(explained).toMatchObject({ status: 200, body: { verdict: "refused" } });
    expect(JSON.stringify(explained.body)).toContain("above-quota");
    const requests = [RECORDED, { ...RECORDED, cpus: 1 }, { ...RECORDED, cpus: 5 }];
    const simulated = await beta.send("POST", `${LIMIT}/simulate`, { body: { requests } });
    expect(simulated).toMatchObject({
      status: 200,
      body: { granted: 1, refused: { "awaiting-approval": 1, "above-quota": 1 } },
    });
  });

  it.each(["explain", "simulate"])("lets only admins %s, and knows no stranger", async (verb) => {
    const body = verb === "explain" ? { spec: SPEC } : { requests: [RECORDED] };
    expect((await beta.send("POST", `${LIMIT}/${verb}`, { body, token: TOKENS.user })).status).toBe(403);
    expect((await beta.send("POST", `/v1/peers/gamma.test/policy/${verb}`, { body })).status).toBe(404);
  });

  it("S1: refuses a request that is none, naming its field", async () => {
    const asked = await beta.send("POST", `${LIMIT}/simulate`, { body: { requests: [{ ...RECORDED, cpus: 0 }] } });
    expect(asked.status).toBe(400);
    expect(JSON.stringify(asked.body.faults)).toContain("requests[0].cpus");
  });

  it("B1: a VM above the limit waits for approval, runs once it is given, and is revoked with a reason", async () => {
    await alpha.create({ name: "away", burst: "allow", spec: { ...SPEC, vcpus: 2 } }, { key: "away" });
    let lease = "";
    await until("it waits for approval", async () => {
      const first = (await beta.get("/v1/leases")).body.items?.[0];
      lease = String(first?.id ?? "");
      return String(first?.stage) === "pending-approval";
    });
    expect((await beta.send("POST", `/v1/leases/${lease}/approve`, { body: {}, token: TOKENS.user })).status).toBe(403);
    expect((await beta.send("POST", "/v1/leases/none/approve", { body: {} })).status).toBe(404);
    expect((await beta.send("POST", `/v1/leases/${lease}/approve`, { body: {} })).status).toBe(202);
    expect((await beta.send("POST", `/v1/leases/${lease}/deny`, { body: {} })).status).toBe(409);
    expect(await alpha.untilPhase("away", "running")).toMatchObject({ place: { peer: "beta.test", lease } });
    const body = { reason: "audit", noticeMs: 60_000 };
    expect(await beta.send("POST", `/v1/leases/${lease}/revoke`, { body })).toMatchObject({ status: 202 });
    await until("the borrower is told", async () =>
      String((await alpha.get("/v1/vms/away")).body.reason).includes("revoked by the lender: audit"),
    );
    const own = await alpha.send("POST", `/v1/leases/${lease}/revoke`, { body });
    expect(own).toMatchObject({ status: 409, body: { reason: "borrowed-lease" } });
  }, 30_000);
});
