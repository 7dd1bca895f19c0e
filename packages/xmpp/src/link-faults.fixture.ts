/** Both adapters and the servers that treat them badly: what the tests of link faults share. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { ensureAuthority, ensureSiteCertificate } from "@muster/xmpp-server";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import type { Bus, BusStatus, IncomingStanza } from "./bus.ts";
import { type XmppClientOptions, xmppClientBus } from "./client-bus.ts";
import { type XmppComponentOptions, xmppComponentBus } from "./component-bus.ts";
import { type FakePeer, FakeServer } from "./testing/fake-server.ts";
import { must } from "./testing/real-site.ts";
import { until } from "./testing/until.ts";

export const CLOUD = "cloud.alpha.test";
export const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
export const STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams";

let folder: string;
let tls: { ca: string; key: string; cert: string };
let otherCa: string;
let tcpServer: FakeServer;
let tlsServer: FakeServer;
const running: Bus[] = [];

/** Registers what each file needs: certificates once, two new servers a test, and the end of every Bus made. */
export function setUpServers(): void {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "xmpp-faults-"));
    const authority = must(await ensureAuthority(join(folder, "ca"), systemClock));
    const certificate = { authority, folder: join(folder, "site"), names: ["alpha.test"], runAs: undefined };
    const paths = must(await ensureSiteCertificate(certificate, systemClock));
    const read = (path: string): Promise<string> => readFile(path, "utf8");
    tls = {
      ca: await read(paths.caPath),
      key: await read(paths.keyPath),
      cert: await read(paths.certificatePath),
    };
    const other = must(await ensureAuthority(join(folder, "other"), systemClock));
    const otherPaths = must(
      await ensureSiteCertificate({ ...certificate, authority: other, folder: join(folder, "o") }, systemClock),
    );
    otherCa = await read(otherPaths.caPath);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  beforeEach(async () => {
    [tcpServer, tlsServer] = await Promise.all([FakeServer.listen(), FakeServer.listen(tls)]);
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((bus) => bus.stop()));
    await Promise.all([tcpServer.close(), tlsServer.close()]);
  });
}

/** Where clients connect. */
export const tlsServerNow = (): FakeServer => tlsServer;
/** Where components connect. */
export const tcpServerNow = (): FakeServer => tcpServer;
/** A certificate authority that did not sign for any server here. */
export const otherAuthority = (): string => otherCa;

export const QUICK = { openWithinMs: 400, backoffBaseMs: 20, backoffMaxMs: 40, closeWithinMs: 100, pingAfterMs: 0 };

export function client(options: Partial<XmppClientOptions> = {}): Bus {
  return trusting({ caPem: tls.ca, ...options });
}

export function trusting(options: Partial<XmppClientOptions>): Bus {
  const bus = xmppClientBus({
    clock: systemClock,
    rng: systemRng,
    times: QUICK,
    service: `xmpps://${tlsServer.host}:${tlsServer.port}`,
    domain: "alpha.test",
    username: "ann",
    password: "secret",
    resource: "desk",
    ...options,
  });
  running.push(bus);
  return bus;
}

function component(options: Partial<XmppComponentOptions> = {}): Bus {
  const bus = xmppComponentBus({
    clock: systemClock,
    rng: systemRng,
    times: QUICK,
    host: tcpServer.host,
    port: tcpServer.port,
    domain: CLOUD,
    secret: "secret",
    ...options,
  });
  running.push(bus);
  return bus;
}

/** The two adapters with a server that lets them in. */
export const LINKS = [
  {
    kind: "client",
    make: client,
    server: () => tlsServer,
    accept: (peer: FakePeer, more?: string) => peer.acceptClient(more),
  },
  {
    kind: "component",
    make: component,
    server: () => tcpServer,
    accept: (peer: FakePeer, more?: string) => peer.acceptComponent(more),
  },
] as const;

export function statusesOf(bus: Bus): BusStatus[] {
  const seen: BusStatus[] = [];
  bus.onStatus((status) => seen.push(status));
  return seen;
}

export function messagesOf(bus: Bus): IncomingStanza[] {
  const heard: IncomingStanza[] = [];
  bus.onMessage((message) => heard.push(message));
  return heard;
}

export async function online(bus: Bus): Promise<void> {
  bus.start();
  await until("online", () => bus.status.kind === "online");
}

export const lastPeer = (server: FakeServer): FakePeer => {
  const peer = server.peers.at(-1);
  if (peer === undefined) throw new Error("nobody connected");
  return peer;
};
