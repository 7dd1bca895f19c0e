import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { systemClock, systemRng } from "@muster/base";
import { problemOf, refusal } from "@muster/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { type ApiRequest, callApi } from "./connection.ts";

type Seen = { readonly request: IncomingMessage; readonly body: string };
const servers: Server[] = [];

/** A server that answers as told; what it was asked is kept. */
async function serve(answer: (response: ServerResponse, seen: Seen) => void): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    seen.push({ request, body });
    answer(response, { request, body });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return { url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`, seen };
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function call(urls: readonly string[], request: Partial<ApiRequest> = {}, patienceMs = 3_000, timeoutMs = 1_000) {
  const endpoint = { urls, token: "secret" };
  const options = { endpoint, clock: systemClock, rng: systemRng, patienceMs, timeoutMs };
  return callApi(options, { method: "GET", path: "/v1/site", ...request });
}

const NOBODY = "http://127.0.0.1:1";

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

describe("callApi", () => {
  it("gives up with the leader's own reason, not with what a standby or nobody said after it", async () => {
    const full = problemOf(refusal("unavailable", "store-full", "no space is left for the store"));
    const waits = problemOf(refusal("not-leader", "standby", "another manager leads"));
    const leader = await serve((response) => json(response, 503, full));
    const standby = await serve((response) => json(response, 503, waits));
    const reasonOf = async (urls: readonly string[]): Promise<string | undefined> => {
      const answer = await call(urls, {}, 200);
      return answer.ok ? undefined : answer.error.reason;
    };
    expect(await reasonOf([leader.url, standby.url, NOBODY])).toBe("store-full");
    expect(await reasonOf([standby.url, NOBODY])).toBe("standby");
    expect(await reasonOf([NOBODY])).toBe("unreachable");
  });

  it("finds whoever leads among the addresses, sending the same write with the same request id (B1)", async () => {
    const problem = problemOf(refusal("not-leader", "standby", "another manager leads"));
    const standby = await serve((response) => json(response, 503, problem));
    const leader = await serve((response) => json(response, 200, { fine: true }));
    const answer = await call([NOBODY, standby.url, leader.url], {
      method: "POST",
      path: "/v1/vms",
      body: { name: "web" },
      idempotencyKey: "r1",
    });
    expect(answer).toEqual({ ok: true, value: { fine: true } });
    for (const { request, body } of [...standby.seen, ...leader.seen]) {
      expect(request.headers).toMatchObject({ authorization: "Bearer secret", "idempotency-key": "r1" });
      expect(JSON.parse(body)).toEqual({ name: "web" });
    }
  });

  it("asks the others while one hangs, under the same request id, until one of them leads", async () => {
    const hung = await serve(() => {});
    let leads = false;
    const problem = problemOf(refusal("not-leader", "standby", "another manager leads"));
    const other = await serve((response) =>
      leads ? json(response, 200, { fine: true }) : json(response, 307, problem),
    );
    systemClock.setTimer(400, () => {
      leads = true;
    });
    const startedMs = performance.now();
    const answer = await call([hung.url, other.url], { method: "POST", idempotencyKey: "r1" }, 5_000, 5_000);
    expect(answer).toEqual({ ok: true, value: { fine: true } });
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    for (const { request } of [...hung.seen, ...other.seen])
      expect(request.headers).toMatchObject({ "idempotency-key": "r1" });
    expect(hung.seen).toHaveLength(1);
  });

  it("takes the word of one that is only slow, whatever the others say meanwhile", async () => {
    const slow = await serve((response) => systemClock.setTimer(600, () => json(response, 200, { slow: true })));
    const problem = problemOf(refusal("not-leader", "standby", "another manager leads"));
    const other = await serve((response) => json(response, 307, problem));
    expect(await call([slow.url, other.url])).toEqual({ ok: true, value: { slow: true } });
    expect(slow.seen).toHaveLength(1);
  });

  it("takes every other refusal as final, with field and message", async () => {
    const why = refusal("bad-request", "invalid", "is wrong", { field: "spec.vcpus" });
    const problem = problemOf(why, [{ field: "spec.vcpus", message: "must be at least 1" }]);
    const site = await serve((response) => json(response, 400, problem));
    const answer = await call([site.url]);
    expect(answer).toMatchObject({
      ok: false,
      error: { kind: "bad-request", field: "spec.vcpus", message: "is wrong (spec.vcpus: must be at least 1)" },
    });
    expect(site.seen).toHaveLength(1);
  });

  it("S2: gives up after its patience, naming the address", async () => {
    const startedMs = performance.now();
    const answer = await call([NOBODY], {}, 600);
    expect(answer).toMatchObject({ ok: false, error: { kind: "unavailable", reason: "unreachable" } });
    expect(!answer.ok && answer.error.message).toContain(NOBODY);
    expect(performance.now() - startedMs).toBeLessThan(2_500);
  });

  it("does not wait for a manager that takes the request and says nothing", async () => {
    const hung = await serve(() => {});
    const answer = await call([hung.url], {}, 100, 200);
    expect(answer).toMatchObject({ ok: false, error: { kind: "unavailable" } });
  });

  it("S1: tells what is no manager at all, at once", async () => {
    const page = await serve((response) => response.writeHead(200).end("<html>"));
    expect(await call([page.url])).toMatchObject({ ok: false, error: { reason: "unexpected-answer" } });
    const missing = await serve((response) => response.writeHead(404).end("<html>"));
    expect(await call([missing.url])).toMatchObject({ ok: false, error: { kind: "bad-request" } });
    expect([page.seen.length, missing.seen.length]).toEqual([1, 1]);
  });

  it("tries again behind a gateway that has nobody", async () => {
    let asked = 0;
    const gateway = await serve((response) => {
      asked += 1;
      if (asked === 1) response.writeHead(502).end("<html>");
      else json(response, 200, []);
    });
    expect(await call([gateway.url])).toEqual({ ok: true, value: [] });
  });

  it("S2: reads no answer beyond its bound, and asks for it once", async () => {
    const block = Buffer.alloc(1024 * 1024, 32);
    const large = await serve((response) => {
      response.writeHead(200);
      for (let block32 = 0; block32 < 34; block32 += 1) response.write(block);
      response.end();
    });
    expect(await call([large.url], {}, 3_000, 10_000)).toMatchObject({
      ok: false,
      error: { reason: "answer-too-large" },
    });
    expect(large.seen).toHaveLength(1);
  });

  it("S3: takes its token nowhere that it was not given for", async () => {
    const elsewhere = await serve((response) => json(response, 200, {}));
    const site = await serve((response) => response.writeHead(307, { location: elsewhere.url }).end());
    expect(await call([site.url], {}, 300)).toMatchObject({ ok: false, error: { kind: "not-leader" } });
    expect(elsewhere.seen).toEqual([]);
  });

  it("says that no address is configured", async () => {
    expect(await call([])).toMatchObject({ ok: false, error: { reason: "no-endpoint" } });
  });
});
