/**
 * The connection on which a guest's memory and disk go from host to host: TLS with a pre-shared key (RFC 8446, 2.2) that
 * is made for one move and reaches both hosts through their site. QEMU speaks to it by unix sockets only, so that
 * nothing of a guest ever goes in the clear and no daemon logs in at another one.
 */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { connect as connectUnix, createServer as createUnixServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls, createServer as createTlsServer, type TlsOptions } from "node:tls";
import type { MoveLink } from "@muster/protocol";

/** Memory, and the disk's blocks by NBD. */
export type MoveSockets = { readonly memory: string; readonly disk: string };

export type TunnelEnd = { readonly sockets: MoveSockets; close(): Promise<void> };

/**
 * The only suite that is spoken. TLS 1.3 proves the key with an ephemeral exchange beside it (`psk_dhe_ke`), so that the key is
 * worth nothing once the move is over; processors have instructions for this cipher.
 */
const SUITE: TlsOptions = { ciphers: "TLS_AES_128_GCM_SHA256", minVersion: "TLSv1.3", maxVersion: "TLSv1.3" };
/** What may lie here on its way: each time that one of those who hand it on has its turn, as much goes on. */
const BUFFER_BYTES = 2 ** 20;
/** QEMU may end one direction before the other. */
const HALF_OPEN = { allowHalfOpen: true, highWaterMark: BUFFER_BYTES };
const HANDSHAKE_MS = 10_000;
/** QEMU opens one connection for memory and one for each disk (S2). */
const CONNECTIONS_MAX = 16;
const KEY_BYTES = 32;
/** `sun_path` of unix(7). */
const SOCKET_PATH_MAX = 107;

const CHANNELS = ["memory", "disk"] as const;

/** What QEMU, which may run as another account, is to reach without anybody else finding it. */
async function socketsIn(folder: string): Promise<{ readonly own: string; readonly sockets: MoveSockets }> {
  await mkdir(folder, { recursive: true, mode: 0o711 });
  const own = await mkdtemp(join(folder, "m"));
  await chmod(own, 0o777);
  const sockets = { memory: join(own, "memory"), disk: join(own, "disk") };
  if (sockets.memory.length > SOCKET_PATH_MAX)
    throw new Error(`the path ${sockets.memory} is too long for a socket: choose a shorter state folder`);
  return { own, sockets };
}

/** The destination's end: whoever proves the key is passed on to the sockets on which QEMU listens. */
export async function openDestination(options: {
  readonly folder: string;
  readonly move: string;
  readonly address: string;
}): Promise<TunnelEnd & { readonly link: MoveLink }> {
  const { own, sockets } = await socketsIn(options.folder);
  const key = randomBytes(KEY_BYTES);
  const open = new Set<Socket>();
  const server = createTlsServer({
    ...SUITE,
    ...HALF_OPEN,
    // The disk's blocks are acknowledged one by one: an answer that waits for more to say holds the next block up.
    noDelay: true,
    handshakeTimeout: HANDSHAKE_MS,
    pskCallback: (_socket, identity) => (identity === options.move ? key : null),
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.on("tlsClientError", () => {});
  server.on("secureConnection", (secured) => {
    // The first byte says which of the sockets it is for.
    secured.once("readable", () => {
      const channel = CHANNELS[secured.read(1)?.[0] ?? CHANNELS.length];
      if (channel === undefined) secured.destroy();
      else connectBoth(secured, connectUnix({ path: sockets[channel], ...HALF_OPEN }), open);
    });
    secured.on("error", () => secured.destroy());
  });
  await listening(server, { host: options.address, port: 0 });
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  const link = { address: options.address, port, key: key.toString("base64url") };
  return { sockets, link, close: () => closeAll(server, open, own) };
}

/** The source's end: what QEMU connects to here comes out at the destination. */
export async function openSource(options: {
  readonly folder: string;
  readonly move: string;
  readonly link: MoveLink;
}): Promise<TunnelEnd> {
  const { own, sockets } = await socketsIn(options.folder);
  const key = Buffer.from(options.link.key, "base64url");
  const open = new Set<Socket>();
  const servers: Server[] = [];
  for (const [index, channel] of CHANNELS.entries()) {
    const server = createUnixServer(HALF_OPEN, (plain) => {
      const secured = connectTls({
        ...SUITE,
        ...HALF_OPEN,
        host: options.link.address,
        port: options.link.port,
        pskCallback: () => ({ identity: options.move, psk: key }),
        // There is no certificate: the key proves both sides.
        checkServerIdentity: () => undefined,
      });
      secured.setNoDelay(true);
      secured.write(Uint8Array.of(index));
      connectBoth(plain, secured, open);
    });
    server.maxConnections = CONNECTIONS_MAX;
    await listening(server, { path: sockets[channel] });
    await chmod(sockets[channel], 0o666);
    servers.push(server);
  }
  return {
    sockets,
    close: async () => {
      for (const server of servers) await closeAll(server, open, own);
    },
  };
}

/** Both ways, with the back-pressure of streams; what ends on one side ends on the other. */
function connectBoth(left: Socket, right: Socket, open: Set<Socket>): void {
  for (const [from, to] of [
    [left, right],
    [right, left],
  ] as const) {
    open.add(from);
    from.on("error", () => to.destroy());
    from.on("close", () => {
      open.delete(from);
      to.destroySoon();
    });
    from.pipe(to);
  }
}

function listening(
  server: Server,
  where: { readonly host: string; readonly port: number } | { readonly path: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function closeAll(server: Server, open: ReadonlySet<Socket>, folder: string): Promise<void> {
  for (const socket of open) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await rm(folder, { recursive: true, force: true });
}
