import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import type { Frame } from "../frame/frame.ts";
import { Libvirt } from "../libvirt.ts";
import { eventKinds } from "../table/event.ts";
import { procedureTable as table } from "../table/procedures.ts";
import { eventually, rejection } from "../testing/eventually.ts";
import { type FakeDaemon, messageFrame, type Peer, replyFrame, startFakeDaemon } from "../testing/fake-daemon.ts";

const lifecycle = eventKinds["domain.lifecycle"];
const register = table.connectDomainEventCallbackRegisterAny;
const domain = { name: "vm", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: 1 };
const cleanup: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function fake(script: (frame: Frame, peer: Peer) => void): Promise<FakeDaemon> {
  const daemon = await startFakeDaemon(script);
  cleanup.push(() => daemon.stop());
  return daemon;
}

async function open({ socketPath }: FakeDaemon): Promise<Libvirt> {
  const client = await Libvirt.open({ socketPath, reconnect: { minDelayMs: 1, maxDelayMs: 5 }, openTimeoutMs: 2_000 });
  cleanup.push(() => client.close(50));
  return client;
}

function event(callbackId: number, number: number): Buffer {
  return messageFrame(lifecycle.number, lifecycle.body, { callbackId, domain, event: number, detail: 0 });
}

/** Answers registrations with rising ids and remembers who made them. */
function registrar(registered: { id: number; peer: Peer }[]): (frame: Frame, peer: Peer) => void {
  return (frame, peer) => {
    if (frame.procedure !== register.number) return;
    const id = registered.length;
    registered.push({ id, peer });
    peer.reply(frame, register, { callbackId: id });
  };
}

describe("a client's three connections", () => {
  it("carry reads, jobs and registrations apart", async () => {
    const seen = new Map<number, Peer>();
    const daemon = await fake((frame, peer) => {
      seen.set(frame.procedure, peer);
      if (frame.procedure === table.connectGetHostname.number) {
        peer.reply(frame, table.connectGetHostname, { hostname: "h" });
      } else if (frame.procedure === table.domainSuspend.number) peer.reply(frame, table.domainSuspend, {});
      else registrar([])(frame, peer);
    });
    const client = await open(daemon);
    await Promise.all([
      client.node.hostname(),
      client.domains.suspend(domain),
      client.domains.onLifecycle(() => undefined),
    ]);
    expect(daemon.peers).toHaveLength(3);
    expect(new Set(seen.values()).size).toBe(3);
  });

  it("keep reads going while every place for jobs is held by one that hangs", async () => {
    const daemon = await fake((frame, peer) => {
      if (frame.procedure === table.connectGetHostname.number) {
        peer.reply(frame, table.connectGetHostname, { hostname: "h" });
      }
    });
    const client = await open(daemon);
    const job = (digit: number) => client.domains.destroy({ uuid: domain.uuid.replace(/^./, String(digit)) });
    const stuck = Promise.allSettled(Array.from({ length: 9 }, (_, digit) => job(digit)));
    expect(await client.node.hostname({ timeoutMs: 1_000 })).toBe("h");
    await client.close(10);
    for (const end of await stuck) expect(end).toMatchObject({ status: "rejected" });
  });

  it("are opened again one by one; the others stay, and a relist follows", async () => {
    const daemon = await fake(() => {});
    const client = await open(daemon);
    const told: string[] = [];
    client.on("disconnected", (role) => told.push(role));
    client.on("connected", () => told.push("connected"));
    const relist = once(client, "relist");
    daemon.peers[0]?.socket.destroy();
    await relist;
    expect(told).toHaveLength(2);
    expect(told[1]).toBe("connected");
    expect(daemon.peers).toHaveLength(4);
  });

  it("are all closed again where one cannot be opened", async () => {
    const daemon = await startFakeDaemon((frame, peer) => peer.refuse(frame, 45, "not you"), 2);
    cleanup.push(() => daemon.stop());
    const { socketPath } = daemon;
    expect(await rejection(Libvirt.open({ socketPath }))).toMatchObject({ kind: "libvirt", code: 45 });
    expect(daemon.peers).toHaveLength(3);
    await eventually("all sockets closed", () => daemon.peers.every(({ socket }) => socket.destroyed));
  });
});

describe("events", () => {
  it("that stand in one chunk with the answer to their registration are not lost", async () => {
    const daemon = await fake((frame, peer) => {
      if (frame.procedure !== register.number) return;
      const answer = replyFrame(frame, register.result, { callbackId: 7 });
      peer.raw(Buffer.concat([event(7, 9_999), answer, event(7, 2), event(7, 3), event(8, 4)]));
    });
    const client = await open(daemon);
    const seen: string[] = [];
    await client.domains.onLifecycle(({ event: name }) => seen.push(name));
    await eventually("the events", () => seen.length >= 3);
    expect(seen).toEqual(["unknown", "started", "suspended"]);
  });

  it("that cannot be read cost the connection, after which all are registered anew and a relist follows", async () => {
    const registered: { id: number; peer: Peer }[] = [];
    const daemon = await fake(registrar(registered));
    const client = await open(daemon);
    const seen: string[] = [];
    await client.domains.onLifecycle(({ event: name }) => seen.push(name));
    const lost = once(client, "disconnected");
    const relist = once(client, "relist");
    const broken = event(0, 2).subarray(0, 40);
    broken.writeUInt32BE(40, 0);
    registered[0]?.peer.raw(broken);
    expect(await lost).toMatchObject(["events", { kind: "protocol-violation" }]);
    await relist;
    expect(registered).toHaveLength(2);
    registered[1]?.peer.raw(Buffer.concat([event(0, 4), event(1, 2)]));
    await eventually("the event under the new id", () => seen.length > 0);
    expect(seen).toEqual(["started"]);
  });

  it("are not subscribed to where the daemon refuses", async () => {
    const daemon = await fake((frame, peer) => peer.refuse(frame, 3, "not here"));
    const client = await open(daemon);
    expect(await rejection(client.domains.onLifecycle(() => undefined))).toMatchObject({ kind: "libvirt", code: 3 });
  });

  it("reach no handler once the client is closed", async () => {
    const registered: { id: number; peer: Peer }[] = [];
    const client = await open(await fake(registrar(registered)));
    const seen: string[] = [];
    await client.domains.onLifecycle(({ event: name }) => seen.push(name));
    registered[0]?.peer.raw(event(0, 2));
    await client.close(10);
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toEqual([]);
  });
});
