import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { systemClock, systemRng } from "@muster/base";
import { afterEach, describe, expect, it } from "vitest";
import { createSiteClient, type SiteClient } from "./site-client.ts";

const PEER = {
  domain: "beta.test",
  state: "active",
  keyFingerprint: "ab:cd",
  borrowedLeases: 0,
  lentLeases: 0,
  policy: { accept: true, share: 0.5, leaseMsMax: 1, vmsMax: 1 },
};
const servers: Server[] = [];

async function clientOf(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<SiteClient> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  const endpoint = { urls: [url], token: "secret" };
  return createSiteClient({ endpoint, clock: systemClock, rng: systemRng, patienceMs: 500 });
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

describe("createSiteClient", () => {
  it("reads a list page by page to its end", async () => {
    const asked: (string | undefined)[] = [];
    const client = await clientOf((request, response) => {
      asked.push(request.url);
      const page = asked.length;
      const items = [{ ...PEER, domain: `p${page}.test` }];
      response.end(JSON.stringify(page < 3 ? { items, next: `p${page} &` } : { items }));
    });
    const peers = await client.peers();
    expect(peers.ok && peers.value.map(({ domain }) => domain)).toEqual(["p1.test", "p2.test", "p3.test"]);
    expect(asked).toEqual(["/v1/peers", "/v1/peers?after=p1+%26", "/v1/peers?after=p2+%26"]);
  });

  it("S1: names the field of an answer that it does not know", async () => {
    const client = await clientOf((_request, response) => {
      response.end(JSON.stringify({ items: [{ ...PEER, state: "asleep" }] }));
    });
    const peers = await client.peers();
    expect(peers).toMatchObject({ ok: false, error: { reason: "unexpected-answer" } });
    expect(!peers.ok && peers.error.message).toMatch(/GET \/v1\/peers.*items\[?\.?0\]?\.state/);
  });

  it("S2: does not follow a list without an end", async () => {
    const client = await clientOf((_request, response) => response.end(JSON.stringify({ items: [], next: "again" })));
    expect(await client.peers()).toMatchObject({ ok: false, error: { reason: "list-too-long" } });
  });

  it("puts a name into the path as one segment, whatever it holds", async () => {
    const asked: (string | undefined)[] = [];
    const client = await clientOf((request, response) => {
      asked.push(request.url);
      response.writeHead(404).end();
    });
    await client.vm("../hosts/x?y");
    expect(asked).toEqual(["/v1/vms/..%2Fhosts%2Fx%3Fy"]);
  });
});

describe("events", () => {
  const event = (id: number): string =>
    `id: ${id}\ndata: ${JSON.stringify({ id, at: "2026-01-01T00:00:00Z", kind: "vm", subject: "v", message: "m" })}\n\n`;

  it("joins again after a break from the last id seen, and leaves out what is no event", async () => {
    const resumed: unknown[] = [];
    const client = await clientOf((request, response) => {
      resumed.push(request.headers["last-event-id"]);
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (resumed.length === 1) response.end(`${event(5)}data: {"id":"x"}\n\ndata: {\n\n${event(6)}`);
      else response.write(event(7));
    });
    const abort = new AbortController();
    const seen: number[] = [];
    for await (const { id } of client.events(abort.signal, "remembered")) {
      seen.push(id);
      if (id === 7) abort.abort();
    }
    expect(seen).toEqual([5, 6, 7]);
    expect(resumed).toEqual(["0", "6"]);
  });

  it("ends at once when told to, also between two tries", async () => {
    const client = await clientOf((_request, response) => response.writeHead(503).end());
    const abort = new AbortController();
    const startedMs = performance.now();
    setImmediate(() => abort.abort());
    for await (const _ of client.events(abort.signal)) throw new Error("there are no events");
    expect(performance.now() - startedMs).toBeLessThan(400);
  });
});
