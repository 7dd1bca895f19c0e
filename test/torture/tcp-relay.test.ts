import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../system/until.ts";
import { TcpRelay } from "./tcp-relay.ts";

const ADDRESS = "127.43.90.1";

let server: Server;
let relay: TcpRelay;
let client: Socket;
let heard: string;

async function dial(): Promise<Socket> {
  const socket = connect(relay.port, ADDRESS);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

beforeEach(async () => {
  server = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  }).listen(0, ADDRESS);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  relay = await TcpRelay.listen({ address: ADDRESS, port: 0 }, { address: ADDRESS, port: address.port });
  client = await dial();
  heard = "";
  client.setEncoding("utf8").on("data", (text: string) => {
    heard += text;
  });
});

afterEach(async () => {
  client.destroy();
  await relay.close();
  server.close();
});

describe("TcpRelay", () => {
  it("carries both directions, and the end of either", async () => {
    client.end("there and back");
    await until("the echo", () => heard === "there and back");
    await until("the end", () => client.readableEnded);
  });

  it("holds what is sent until it may pass, and loses nothing of it", async () => {
    relay.mode = { kind: "hold" };
    const more = await dial();
    client.write("held");
    const early = await Promise.race([once(client, "data"), once(more, "close"), settled(150)]);
    expect(early).toBe("nothing");
    relay.mode = { kind: "pass" };
    await until("what was held", () => heard === "held");
    more.destroy();
  });

  it("carries late what it delays, in its order", async () => {
    relay.mode = { kind: "delay", delayMs: 40 };
    const startMs = performance.now();
    for (const text of ["a", "b", "c"]) client.write(text);
    await until("all of it", () => heard === "abc");
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(80);
  });

  it("ends every connection when cut, takes none, and takes them again afterwards", async () => {
    relay.mode = { kind: "cut" };
    await until("the end", () => client.closed);
    const refused = connect(relay.port, ADDRESS);
    refused.on("error", () => {});
    await once(refused, "close");
    expect(relay.connections).toBe(0);
    relay.mode = { kind: "pass" };
    const again = await dial();
    again.write("x");
    await once(again, "data");
    again.destroy();
  });
});

function settled(afterMs: number): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve("nothing"), afterMs));
}
