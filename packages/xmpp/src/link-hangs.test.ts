import { VirtualClock } from "@muster/base";
import { Element } from "ltx";
import { describe, expect, it } from "vitest";
import type { IqOutcome, SendOutcome } from "./bus.ts";
import {
  CLOUD,
  LINKS,
  lastPeer,
  online,
  QUICK,
  STREAM_ERRORS,
  setUpServers,
  statusesOf,
  tcpServerNow,
} from "./link-faults.fixture.ts";
import { type FakePeer, PLAIN } from "./testing/fake-server.ts";
import { until } from "./testing/until.ts";

setUpServers();

describe.each(LINKS)("$kind link: a server that hangs or refuses", ({ make, server, accept }) => {
  const steps: Readonly<Record<string, (peer: FakePeer) => Promise<unknown>>> = {
    "after accepting the connection": async () => {},
    "after opening the stream": async (peer) => {
      await peer.until(/<stream:stream[^>]*>/);
      peer.send("<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' ");
      peer.send("xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>");
    },
    "in authentication": async (peer) => {
      if (server() === tcpServerNow()) return;
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
