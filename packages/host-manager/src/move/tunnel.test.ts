import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDestination, openSource, type TunnelEnd } from "./tunnel.ts";

const MOVE = "0190a7b2-0000-7000-8000-00000000000a";
const ADDRESS = "127.0.0.1";

let folder = "";
const ends: TunnelEnd[] = [];
const servers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-tunnel-"));
});

afterEach(async () => {
  for (const end of ends.splice(0)) await end.close();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  expect(await readdir(folder)).toEqual([]);
  await rm(folder, { recursive: true, force: true });
});

describe("the tunnel of a move", () => {
  it("carries memory and disk to the sockets that they are for, unchanged and both ways", async () => {
    const { source, destination } = await tunnel();
    await listenOn(destination.sockets.memory, (socket) => socket.pipe(socket));
    await listenOn(destination.sockets.disk, (socket) => socket.end("the disk"));
    const sent = randomBytes(3_000_000);
    const memory = connect({ path: source.sockets.memory, allowHalfOpen: true });
    memory.end(sent);
    expect(digest(await received(memory))).toBe(digest(sent));
    const disk = connect(source.sockets.disk);
    expect((await received(disk)).toString()).toBe("the disk");
  });

  it("S3: lets nobody in who has not got the key, or names another move", async () => {
    const { destination } = await tunnel();
    let reached = 0;
    await listenOn(destination.sockets.memory, () => {
      reached += 1;
    });
    const key = Buffer.from(destination.link.key, "base64url");
    for (const [identity, psk] of [
      [MOVE, randomBytes(32)],
      ["another", key],
    ] as const) {
      expect(await handshake(destination.link.port, { pskCallback: () => ({ identity, psk }) })).not.toBe("in");
    }
    expect(await handshake(destination.link.port, {})).not.toBe("in");
    expect(reached).toBe(0);
  });

  it("ends what is open when it is closed", async () => {
    const { source, destination } = await tunnel();
    await listenOn(destination.sockets.memory, (socket) => {
      socket.on("end", () => socket.end());
      socket.write("hello");
    });
    const memory = connect(source.sockets.memory);
    await new Promise((resolve) => memory.once("data", resolve));
    const ended = new Promise((resolve) => memory.once("close", resolve));
    await destination.close();
    await ended;
  });

  it("says what to do where the state folder is too deep for a socket", async () => {
    await expect(
      openDestination({ folder: join(folder, "x".repeat(100)), move: MOVE, address: ADDRESS }),
    ).rejects.toThrow("choose a shorter state folder");
    await rm(join(folder, "x".repeat(100)), { recursive: true });
  });
});

async function tunnel() {
  const destination = await openDestination({ folder, move: MOVE, address: ADDRESS });
  ends.push(destination);
  const source = await openSource({ folder, move: MOVE, link: destination.link });
  ends.push(source);
  return { source, destination };
}

async function listenOn(path: string, take: (socket: Socket) => void): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    take(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
}

async function received(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function handshake(port: number, how: object): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTls({
      host: ADDRESS,
      port,
      maxVersion: "TLSv1.2",
      ciphers: "ALL",
      checkServerIdentity: () => undefined,
      ...how,
    });
    socket.once("secureConnect", () => resolve("in"));
    socket.once("error", (error) => resolve(error.message));
    socket.once("close", () => resolve("closed"));
  });
}

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
