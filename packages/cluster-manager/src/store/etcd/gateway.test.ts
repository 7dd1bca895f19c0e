import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { systemClock } from "@muster/base";
import { afterEach, describe, expect, it } from "vitest";
import { ANSWER_BYTES_MAX, Gateway } from "./gateway.ts";

const ADDRESS = "127.0.71.51";
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

function gatewayAt(endpoint: string, requestMs = 200): Gateway {
  const gateway = new Gateway({ clock: systemClock, endpoints: [endpoint], requestMs });
  closing.push(() => gateway.close());
  return gateway;
}

async function gatewayTo(answer: RequestListener, requestMs?: number): Promise<Gateway> {
  const server = createServer(answer);
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  server.listen(0, ADDRESS);
  await once(server, "listening");
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  return gatewayAt(`http://${ADDRESS}:${port}`, requestMs);
}

const CALL = { endpoint: 0, path: "/v3/kv/txn", body: { a: 1 } };

describe("an exchange with a member's gateway", () => {
  it("is answered with status and text, over a connection that is kept", async () => {
    const ports = new Set<number | undefined>();
    const to = await gatewayTo((request, response) => {
      ports.add(request.socket.remotePort);
      response.writeHead(418).end(`${request.method} ${request.url} ${request.headers.authorization}`);
    });
    const text = "POST /v3/kv/txn token";
    for (let round = 0; round < 3; round += 1)
      expect(await to.ask({ ...CALL, token: "token" })).toEqual({ kind: "answered", status: 418, text });
    expect(ports.size).toBe(1);
  });

  it("is unsent where nobody listens", async () => {
    expect(await gatewayAt("http://127.0.71.51:1").ask(CALL)).toMatchObject({
      kind: "unsent",
      message: /127\.0\.71\.51:1: .*ECONNREFUSED/,
    });
  });

  it("is unclear where no answer comes in time, or the connection breaks before or within it", async () => {
    const silent = await gatewayTo(() => {});
    expect(await silent.ask(CALL)).toMatchObject({ kind: "unclear", message: /no answer in 200 ms/ });
    const rude = await gatewayTo((request) => request.socket.destroy());
    expect(await rude.ask(CALL)).toMatchObject({ kind: "unclear" });
    const torn = await gatewayTo((request, response) => {
      response.writeHead(200, { "content-length": 100 });
      response.write("{", () => request.socket.destroy());
    });
    expect(await torn.ask(CALL)).toMatchObject({ kind: "unclear" });
  });

  it("S2: ends an answer, and a line of a stream, at its bound", async () => {
    const chunk = Buffer.alloc(1024 * 1024, "x");
    const endless = await gatewayTo((_, response) => {
      const more = (): void => void (response.destroyed || response.write(chunk, more));
      more();
    }, 10_000);
    expect(await endless.ask(CALL)).toMatchObject({ kind: "too-large", message: new RegExp(`${ANSWER_BYTES_MAX}`) });
    const ended = Promise.withResolvers<string>();
    endless.stream(
      CALL,
      () => ended.resolve("a line"),
      ({ message }) => ended.resolve(message),
    );
    expect(await ended.promise).toMatch(/line is longer than/);
  });

  it("hands a stream on line by line, however it is cut, and tells its end once", async () => {
    const to = await gatewayTo((_, response) => {
      response.write('{"a":');
      setImmediate(() => response.end('1}\n{"b":2}\n\n{"c":3}'));
    });
    const lines: string[] = [];
    const ends: string[] = [];
    const ended = Promise.withResolvers<void>();
    const stream = to.stream(
      CALL,
      (line) => lines.push(line),
      ({ message }) => {
        ends.push(message);
        ended.resolve();
      },
    );
    await ended.promise;
    stream.close();
    expect(lines).toEqual(['{"a":1}', '{"b":2}', '{"c":3}']);
    expect(ends).toEqual(["the stream ended (status 200)"]);
  });
});
