import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRng, VirtualClock } from "@muster/base";
import { ensureAuthority, ensureSiteCertificate } from "@muster/xmpp-server";
import { Element } from "ltx";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Bus, BusStatus, IncomingStanza, IqOutcome, SendOutcome } from "./bus.ts";
import { type XmppClientOptions, xmppClientBus } from "./client-bus.ts";
import { type XmppComponentOptions, xmppComponentBus } from "./component-bus.ts";
import { type FakePeer, FakeServer, PLAIN } from "./testing/fake-server.ts";
import { must } from "./testing/real-site.ts";
import { until } from "./testing/until.ts";

const CLOUD = "cloud.alpha.test";
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams";

let folder: string;
let tls: { ca: string; key: string; cert: string };
let otherCa: string;
let tcpServer: FakeServer;
let tlsServer: FakeServer;
const running: Bus[] = [];

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

const QUICK = { openWithinMs: 400, backoffBaseMs: 20, backoffMaxMs: 40, closeWithinMs: 100, pingAfterMs: 0 };

function client(options: Partial<XmppClientOptions> = {}): Bus {
  return trusting({ caPem: tls.ca, ...options });
}

function trusting(options: Partial<XmppClientOptions>): Bus {
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
const LINKS = [
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

function statusesOf(bus: Bus): BusStatus[] {
  const seen: BusStatus[] = [];
  bus.onStatus((status) => seen.push(status));
  return seen;
}

function messagesOf(bus: Bus): IncomingStanza[] {
  const heard: IncomingStanza[] = [];
  bus.onMessage((message) => heard.push(message));
  return heard;
}

async function online(bus: Bus): Promise<void> {
  bus.start();
  await until("online", () => bus.status.kind === "online");
}

const lastPeer = (server: FakeServer): FakePeer => {
  const peer = server.peers.at(-1);
  if (peer === undefined) throw new Error("nobody connected");
  return peer;
};

describe("certificates", () => {
  it("are pinned per connection: each trusts its own authority alone, and asks for the domain by name", async () => {
    tlsServer.onPeer((peer) => peer.acceptClient());
    const distrusting = {
      "another authority": trusting({ caPem: otherCa }),
      "the system's authorities": trusting({}),
      "another domain": client({ domain: "beta.test" }),
    };
    const seen = Object.entries(distrusting).map(([why, bus]) => ({ why, bus, statuses: statusesOf(bus) }));
    const good = client();
    for (const bus of [good, ...Object.values(distrusting)]) bus.start();
    await until("one online", () => good.status.kind === "online");
    await until("each failed twice", () =>
      seen.every(({ statuses }) => statuses.filter(({ kind }) => kind === "offline").length > 1),
    );
    const reasonOf = (statuses: readonly BusStatus[]): string =>
      statuses.flatMap((status) => (status.kind === "offline" ? [status.reason] : []))[0] ?? "";
    expect(Object.fromEntries(seen.map(({ why, statuses }) => [why, reasonOf(statuses)]))).toEqual({
      "another authority": expect.stringMatching(/certificate/),
      "the system's authorities": expect.stringMatching(/certificate/),
      "another domain": expect.stringMatching(/altnames/),
    });
    expect(seen.some(({ statuses }) => statuses.some(({ kind }) => kind === "online"))).toBe(false);
    expect(tlsServer.peers.filter((peer) => peer.text !== "")).toHaveLength(1);
  });

  it("a certificate that is none is refused when the Bus is made", () => {
    expect(() => client({ caPem: "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----" })).toThrow();
  });

  it("a service that is not direct TLS is refused when the Bus is made", () => {
    for (const service of ["xmpp://alpha.test:5222", "alpha.test", "wss://alpha.test/ws", "xmpps://"]) {
      expect(() => client({ service }), service).toThrow(/xmpps:/);
    }
  });
});

describe.each(LINKS)("$kind link: what arrives", ({ make, server, accept }) => {
  it("is whole wherever a packet ends, within a character too", async () => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    const heard = messagesOf(bus);
    await online(bus);
    const peer = lastPeer(server());
    const text = "Zürich 雪 𝄞";
    const bytes = Buffer.from(`<message from='x@${CLOUD}' to='ann@alpha.test/desk'><body>${text}</body></message>`);
    const [start, end] = [bytes.indexOf("Z"), bytes.indexOf("</body>")];
    for (let cut = start; cut <= end; cut++) {
      const count = heard.length;
      // Once the first is heard, the packet that holds it and the first part of the second was read.
      peer.send(Buffer.concat([Buffer.from(`<message from='x@${CLOUD}'/>`), bytes.subarray(0, cut)]));
      await until("the first", () => heard.length === count + 1);
      peer.send(bytes.subarray(cut));
      await until("the second", () => heard.length === count + 2);
      expect(heard.at(-1)?.stanza.getChildText("body"), `cut at ${cut - start}`).toBe(text);
    }
  });

  it("in the packet that ends the handshake is not lost", async () => {
    server().onPeer((peer) => accept(peer, `<message from='a@${CLOUD}' to='b@${CLOUD}' id='1'/>`));
    const bus = make();
    const heard = messagesOf(bus);
    const seen: string[] = [];
    bus.onStatus((status) => seen.push(status.kind));
    bus.onMessage(({ id }) => seen.push(id));
    await online(bus);
    await until("the message", () => heard.length === 1);
    expect(seen).toEqual(["connecting", "online", "1"]);
  });

  it("X2: answers another's question only from the address that was asked", async () => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    await online(bus);
    const asked = bus.request({
      to: "cm@alpha.test",
      type: "get",
      payload: new Element("q", "urn:x"),
      timeoutMs: 5000,
    });
    const peer = lastPeer(server());
    const [, id] = await peer.until(/<iq[^>]* id="([^"]+)"[^>]*><q/);
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    for (const from of ["evil@peer.test", "cm@alpha.test/x"]) {
      peer.send(`<iq type='result' id='${id}' from='${from}'><forged xmlns='urn:x'/></iq>`);
    }
    peer.send(`<iq type='result' id='${id}' from='cm@alpha.test'><true xmlns='urn:x'/></iq>`);
    const answer = await asked;
    expect(answer.kind === "result" && answer.payload?.name).toBe("true");
  });

  it("X4: each request gets one answer, from us and not from the library too", async () => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    bus.handle("get", "urn:x", "q", () => ({ kind: "result" }));
    await online(bus);
    const peer = lastPeer(server());
    const requests = {
      handled: "<q xmlns='urn:x'/>",
      unknown: "<q xmlns='urn:y'/>",
      ping: "<ping xmlns='urn:xmpp:ping'/>",
      none: "",
      two: "<q xmlns='urn:x'/><q xmlns='urn:x'/>",
      big: `<q xmlns='urn:x'>${"x".repeat(70_000)}</q>`,
      deep: `${"<q xmlns='urn:x'>".repeat(100)}${"</q>".repeat(100)}`,
    };
    const send = (id: string, payload: string): void =>
      peer.send(`<iq type='get' id='${id}' from='x@${CLOUD}' to='ann@alpha.test/desk'>${payload}</iq>`);
    for (const [id, payload] of Object.entries(requests)) send(id, payload);
    // The library would answer a little later than we do: two turns of question and answer are enough for it.
    for (const id of ["fence1", "fence2"]) {
      send(id, "<q xmlns='urn:x'/>");
      await peer.until(new RegExp(`id="${id}"`));
    }
    const answers = [...peer.text.matchAll(/<iq [^>]*\bid="(\w+)"[^>]*>(?:<error[^>]*><([\w-]+))?/g)]
      .map(([answer, id = "", condition]) => [id, condition ?? /type="(\w+)"/.exec(answer)?.[1]] as const)
      .filter(([id]) => id in requests);
    expect(Object.fromEntries(answers)).toEqual({
      handled: "result",
      unknown: "service-unavailable",
      ping: "service-unavailable",
      none: "bad-request",
      two: "bad-request",
      big: "policy-violation",
      deep: "policy-violation",
    });
    expect(answers).toHaveLength(Object.keys(requests).length);
  });

  it.each([
    ["an entity that does not exist", "<message><body>&bogus;</body></message>"],
    ["a tag that closes another", "<message></presence>"],
    ["a stanza without end", `<message><body>${"x".repeat(1_200_000)}`],
    ["the end of the stream", "</stream:stream>"],
    ["a stream error", `<stream:error><internal-server-error xmlns='${STREAM_ERRORS}'/></stream:error>`],
  ])("S1: %s ends the link, and another is made", async (_what, bytes) => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    const seen = statusesOf(bus);
    await online(bus);
    lastPeer(server()).send(bytes);
    await until("online again", () => seen.filter(({ kind }) => kind === "online").length === 2);
    expect(seen.map(({ kind }) => kind)).toEqual(["connecting", "online", "offline", "connecting", "online"]);
    await until("the first closed", () => server().peers[0]?.socket.destroyed === true);
  });

  it("S1: errors without content, unknown answers and strange addresses are survived", async () => {
    server().onPeer((peer) => accept(peer));
    const faults: string[] = [];
    const bus = make({ onFault: (where) => faults.push(where) });
    const heard = messagesOf(bus);
    await online(bus);
    const peer = lastPeer(server());
    peer.send(
      "<iq type='error' id='nobody'/><iq type='result'/><message from='@' to='/'/><presence from=''/><strange/>",
    );
    peer.send(`<message from='a@${CLOUD}' id='fence'/>`);
    await until("the fence", () => heard.some(({ id }) => id === "fence"));
    expect(bus.status.kind).toBe("online");
    expect(heard.map(({ id }) => id)).toEqual(["fence"]);
    expect(faults).toContain("receive");
  });
});

describe.each(LINKS)("$kind link: a server that hangs or refuses", ({ make, server, accept }) => {
  const steps: Readonly<Record<string, (peer: FakePeer) => Promise<unknown>>> = {
    "after accepting the connection": async () => {},
    "after opening the stream": async (peer) => {
      await peer.until(/<stream:stream[^>]*>/);
      peer.send("<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' ");
      peer.send("xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>");
    },
    "in authentication": async (peer) => {
      if (server() === tcpServer) return;
      await peer.openClient(PLAIN);
      await peer.until(/<auth/);
    },
  };

  it.each(Object.keys(steps))("X5: that hangs %s is left at the deadline and tried again", async (step) => {
    server().onPeer((peer, index) => (index < 2 ? (steps[step]?.(peer) ?? Promise.resolve()) : accept(peer)));
    const bus = make();
    const seen = statusesOf(bus);
    await online(bus);
    expect(seen.map(({ kind }) => kind)).toEqual([
      ...["connecting", "offline", "connecting", "offline"],
      ...["connecting", "online"],
    ]);
    expect(seen[1]).toEqual({ kind: "offline", reason: "not online within 400 ms" });
    await until("the hung ones closed", () =>
      server()
        .peers.slice(0, 2)
        .every(({ socket }) => socket.destroyed),
    );
  });

  it("X5: that hangs later is noticed by pings, which anything heard answers", async () => {
    server().onPeer((peer) => accept(peer));
    const bus = make({ times: { ...QUICK, pingAfterMs: 60, pongWithinMs: 100 } });
    const seen = statusesOf(bus);
    await online(bus);
    const first = lastPeer(server());
    for (let count = 0; count < 3; count++) {
      const [, id] = await first.until(/<iq[^>]* id="([^"]+)"[^>]*><ping xmlns="urn:xmpp:ping"/);
      first.send(`<iq type='result' id='${id}' from='alpha.test'/>`);
    }
    expect(seen.map(({ kind }) => kind)).toEqual(["connecting", "online"]);
    await until("online again", () => seen.filter(({ kind }) => kind === "online").length === 2);
    expect(seen[2]).toMatchObject({ kind: "offline", reason: expect.stringContaining("nothing heard") });
    await until("the hung one closed", () => first.socket.destroyed);
  });

  it.each([
    ["conflict", "conflict"],
    ["not-authorized", "not-authorized"],
    ["host-unknown", "host-unknown"],
  ])("that says %s is not tried again until started anew", async (condition, reason) => {
    server().onPeer(async (peer, index) => {
      await accept(peer, index === 0 ? `<stream:error><${condition} xmlns='${STREAM_ERRORS}'/></stream:error>` : "");
    });
    const clock = new VirtualClock();
    const bus = make({ clock });
    bus.start();
    await until("refused", () => bus.status.kind === "refused");
    expect(bus.status).toMatchObject({ kind: "refused", reason });
    expect(await bus.send(new Element("message", { to: CLOUD }))).toMatchObject({ kind: "offline" });
    clock.advance(3_600_000);
    expect(clock.nextDueMs()).toBeUndefined();
    expect(bus.status.kind).toBe("refused");
    await online(bus);
    expect(server().peers).toHaveLength(2);
  });

  it("X3: pending calls end the moment the link does", async () => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    await online(bus);
    const asked: Promise<IqOutcome>[] = [1, 2, 3].map(() =>
      bus.request({ to: "cm@alpha.test", type: "get", payload: new Element("q", "urn:x"), timeoutMs: 60_000 }),
    );
    const peer = lastPeer(server());
    await peer.until(/<q[^>]*>[\s\S]*<q[^>]*>[\s\S]*<q/);
    const cutMs = performance.now();
    peer.socket.destroy();
    expect((await Promise.all(asked)).map(({ kind }) => kind)).toEqual(Array(3).fill("disconnected"));
    expect(performance.now() - cutMs).toBeLessThan(1000);
  });

  it("X1: that never reads costs a bounded queue: the rest is refused, and what was taken arrives in order", async () => {
    server().onPeer((peer) => accept(peer));
    const outbox = { maxQueued: 50, maxBufferedBytes: 64 * 1024 };
    const bus = make({ outbox });
    await online(bus);
    const peer = lastPeer(server());
    peer.socket.pause();
    const sent: Promise<SendOutcome>[] = [];
    const text = "x".repeat(10_000);
    for (let id = 0; id < 20_000; id++) {
      sent.push(bus.send(new Element("message", { to: CLOUD, id: `m${id}` }).t(text)));
      if (id % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const early = await Promise.race([sent.at(-1), new Promise((resolve) => setTimeout(resolve, 1000))]);
    expect(early).toMatchObject({ kind: "queue-full" });
    peer.socket.resume();
    const outcomes = await Promise.all(sent);
    const taken = outcomes.flatMap(({ kind }, id) => (kind === "sent" ? [`m${id}`] : []));
    expect(outcomes.every(({ kind }) => kind === "sent" || kind === "queue-full")).toBe(true);
    // Two kernels hold some megabytes; what matters is that 200 MB were not taken.
    expect(taken.length).toBeLessThan(3000);
    await peer.until(new RegExp(`id="${taken.at(-1)}"`));
    expect([...peer.text.matchAll(/ id="(m\d+)"/g)].map(([, id]) => id)).toEqual(taken);
  });

  it("stops at once while connecting, and in bounded time when the server does not close", async () => {
    const hung = make({ times: { ...QUICK, openWithinMs: 60_000 } });
    hung.start();
    await until("connected", () => server().peers.length === 1);
    await hung.stop();
    expect(hung.status.kind).toBe("stopped");
    server().onPeer((peer) => accept(peer));
    const bus = make();
    await online(bus);
    const startedMs = performance.now();
    await bus.stop();
    expect(performance.now() - startedMs).toBeLessThan(2000);
    await until("closed", () => server().peers.every(({ socket }) => socket.destroyed));
  });
});

describe("client link: authentication that fails early", () => {
  it("is refused, however fast the server is, and leaves no rejection that would end the process", async () => {
    const rejections: unknown[] = [];
    const count = (reason: unknown): void => {
      rejections.push(reason);
    };
    process.on("unhandledRejection", count);
    tlsServer.onPeer(async (peer, index) => {
      const failure = `<failure xmlns='${SASL}'><not-authorized/></failure>`;
      // Sometimes with the features, before the client asked; sometimes with the end of the stream, or of the socket.
      await peer.openClient(PLAIN);
      if (index % 4 !== 0) await peer.until(/<auth/);
      peer.send(index % 4 === 1 ? `${failure}</stream:stream>` : failure);
      if (index % 4 === 2) peer.socket.end();
      if (index % 4 === 3) peer.socket.destroySoon();
    });
    for (let round = 0; round < 16; round++) {
      const bus = client();
      bus.start();
      await until("refused or lost", () => bus.status.kind === "refused" || bus.status.kind === "offline");
      await bus.stop();
    }
    // The library's own time-outs have to pass too: they are what used to reject with nobody there.
    await new Promise((resolve) => setTimeout(resolve, 1.5 * QUICK.openWithinMs));
    process.off("unhandledRejection", count);
    expect(rejections).toEqual([]);
  });

  it("a failure that will pass is tried again", async () => {
    tlsServer.onPeer(async (peer, index) => {
      if (index > 0) return peer.acceptClient();
      await peer.openClient(PLAIN);
      await peer.until(/<auth/);
      peer.send(`<failure xmlns='${SASL}'><temporary-auth-failure/></failure>`);
      return peer;
    });
    await online(client());
  });

  it("a server without a mechanism of ours is refused as not-authorized", async () => {
    tlsServer.onPeer((peer) =>
      peer.openClient(`<mechanisms xmlns='${SASL}'><mechanism>X-OWN</mechanism></mechanisms>`),
    );
    const bus = client();
    bus.start();
    await until("refused", () => bus.status.kind === "refused");
    expect(bus.status).toMatchObject({ reason: "not-authorized", text: expect.stringContaining("mechanism") });
  });
});
