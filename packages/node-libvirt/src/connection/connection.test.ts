import { afterEach, describe, expect, it } from "vitest";
import { ConnectionLost, LibvirtError, Overloaded, ProtocolViolation, Timeout } from "../fault.ts";
import { emptyFrame, type Frame } from "../frame/frame.ts";
import { Program } from "../table/procedure.ts";
import { procedureTable as table } from "../table/procedures.ts";
import { eventually, rejection } from "../testing/eventually.ts";
import { type FakeDaemon, type Peer, replyFrame, startFakeDaemon } from "../testing/fake-daemon.ts";
import { recordedFrames as recorded } from "../testing/recorded-frames.ts";
import type { Connection } from "./connection.ts";
import { type OpenOptions, openConnection } from "./handshake.ts";
import { pingFrame } from "./keepalive.ts";

const quiet = { intervalMs: 0, count: 0 };
const cleanup: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function open(
  script: (frame: Frame, peer: Peer) => void,
  options: Partial<OpenOptions> = {},
): Promise<{ connection: Connection; daemon: FakeDaemon; peer: Peer; lost: Promise<Error>; messages: number[] }> {
  const daemon = await startFakeDaemon(script);
  cleanup.push(() => daemon.stop());
  const messages: number[] = [];
  let tell: (fault: Error) => void = () => {};
  const lost = new Promise<Error>((resolve) => {
    tell = resolve;
  });
  const connection = await openConnection(
    { socketPath: daemon.socketPath, keepalive: quiet, callTimeoutMs: 2_000, ...options },
    { lost: tell, message: (number) => messages.push(number) },
  );
  cleanup.push(() => connection.destroy());
  const [peer] = daemon.peers;
  if (peer === undefined) throw new Error("nobody connected");
  return { connection, daemon, peer, lost, messages };
}

const getInfo = (connection: Connection) => connection.call(table.connectGetHostname, {});
const hostname = (frame: Frame, peer: Peer) => peer.reply(frame, table.connectGetHostname, { hostname: "h" });

describe("a daemon that breaks the protocol", () => {
  const word = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const answer = (frame: Frame, changes = {}) =>
    replyFrame(frame, table.connectGetHostname.result, { hostname: "h" }, changes);
  const broken: readonly [string, (frame: Frame, peer: Peer) => void][] = [
    ["a frame shorter than its header", (_, peer) => peer.raw(word(12))],
    ["an oversized frame", (_, peer) => peer.raw(word(0x7fff_ffff))],
    ["garbage", (_, peer) => peer.raw(Buffer.alloc(300, 0xee))],
    ["a wrong serial", (frame, peer) => peer.raw(answer(frame, { serial: frame.serial + 77 }))],
    ["a reply to another procedure", (frame, peer) => peer.raw(answer(frame, { procedure: 7 }))],
    ["a reply of another program", (frame, peer) => peer.raw(answer(frame, { program: Program.qemu }))],
    ["an unknown status", (frame, peer) => peer.raw(answer(frame, { status: 9 }))],
    ["a call from the daemon", (frame, peer) => peer.raw(answer(frame, { type: 0 }))],
    ["a stream nobody opened", (frame, peer) => peer.raw(answer(frame, { type: 3 }))],
    ["file descriptors nobody asked for", (frame, peer) => peer.raw(answer(frame, { type: 5 }))],
  ];

  it.each(broken)("ends the connection and rejects its calls with ProtocolViolation: %s", async (_, script) => {
    const { connection, lost } = await open(script);
    expect(await rejection(getInfo(connection))).toBeInstanceOf(ProtocolViolation);
    expect(await lost).toBeInstanceOf(ProtocolViolation);
    expect(await rejection(getInfo(connection))).toMatchObject({ kind: "connection-lost", sent: false });
  });

  it("rejects only the call whose body is truncated, too long or of another shape", async () => {
    const bodies = [Buffer.alloc(0), Buffer.alloc(2), Buffer.alloc(64, 0xff), Buffer.alloc(12)];
    const { connection } = await open((frame, peer) => {
      const body = bodies.shift();
      if (body === undefined) return hostname(frame, peer);
      const reply = Buffer.concat([answer(frame).subarray(0, 28), body]);
      reply.writeUInt32BE(reply.length, 0);
      peer.raw(reply);
    });
    for (let left = bodies.length; left > 0; left--) {
      expect(await rejection(getInfo(connection))).toBeInstanceOf(ProtocolViolation);
    }
    expect(await getInfo(connection)).toEqual({ hostname: "h" });
  });

  it("rejects the call with ProtocolViolation where the error itself cannot be read", async () => {
    const { connection } = await open((frame, peer) => peer.raw(answer(frame, { status: 1 })));
    expect(await rejection(getInfo(connection))).toBeInstanceOf(ProtocolViolation);
  });

  it("is not troubled by unknown events and unknown programs", async () => {
    const { connection, messages } = await open((frame, peer) => {
      peer.raw(emptyFrame({ program: Program.remote, version: 1, procedure: 9_999, type: 2, serial: 0, status: 0 }));
      peer.raw(emptyFrame({ program: 0x1234, version: 1, procedure: 1, type: 2, serial: 0, status: 0 }));
      hostname(frame, peer);
    });
    expect(await getInfo(connection)).toEqual({ hostname: "h" });
    expect(messages).toEqual([9_999]);
  });

  it("may split an answer into single bytes", async () => {
    const { connection } = await open((frame, peer) => {
      for (const byte of answer(frame)) peer.raw(Uint8Array.of(byte));
    });
    expect(await getInfo(connection)).toEqual({ hostname: "h" });
  });

  it("costs a deadline and no more when it stops in the middle of a frame", async () => {
    const { connection } = await open((frame, peer) => peer.raw(answer(frame).subarray(0, 20)), { callTimeoutMs: 40 });
    expect(await rejection(getInfo(connection))).toMatchObject({ kind: "timeout", sent: true, timeoutMs: 40 });
  });

  it("gets a ConnectionLost for each call when it hangs up in the middle of a frame", async () => {
    const { connection } = await open((frame, peer) => {
      peer.raw(answer(frame).subarray(0, 20));
      peer.socket.end();
    });
    const fault = await rejection(getInfo(connection));
    expect(fault).toBeInstanceOf(ConnectionLost);
    expect(fault).toMatchObject({ sent: true });
  });
});

describe("errors the daemon answers with", () => {
  it("arrive as LibvirtError with code, domain, level, message and procedure", async () => {
    const { connection } = await open((frame, peer) => peer.refuse(frame, 38, "no space left"));
    const error = await rejection(getInfo(connection));
    expect(error).toBeInstanceOf(LibvirtError);
    expect(error).toMatchObject({ code: 38, domain: 10, level: 2, message: "no space left" });
    expect(error).toMatchObject({ procedure: "connectGetHostname", kind: "libvirt" });
  });
});

describe("calls in flight", () => {
  it("are four at most; the others wait their turn, and one too many is refused", async () => {
    const calls: Frame[] = [];
    const { connection, peer } = await open((frame) => calls.push(frame), { maxWaiting: 3 });
    const answers = Array.from({ length: 7 }, () => getInfo(connection));
    const refused = await rejection(getInfo(connection));
    expect(refused).toBeInstanceOf(Overloaded);
    expect(refused).toMatchObject({ limit: 3, sent: false });
    await eventually("four calls on the wire", () => calls.length === 4);
    expect([connection.inFlight, connection.waiting]).toEqual([4, 3]);
    for (let answered = 0; answered < 7; answered++) {
      await eventually("the next call on the wire", () => calls.length > answered);
      const call = calls[answered];
      if (call !== undefined) hostname(call, peer);
    }
    expect(await Promise.all(answers)).toHaveLength(7);
    expect(new Set(calls.map((call) => call.serial)).size).toBe(7);
  });

  it("keep their place after their deadline until the late reply, which is dropped", async () => {
    const calls: Frame[] = [];
    const { connection, peer } = await open((frame) => calls.push(frame));
    const late = rejection(connection.call(table.connectGetHostname, {}, { timeoutMs: 20 }));
    expect(await late).toBeInstanceOf(Timeout);
    expect(connection.inFlight).toBe(1);
    const [call] = calls;
    if (call === undefined) throw new Error("no call came");
    hostname(call, peer);
    await eventually("the place is free", () => connection.inFlight === 0);
    const next = getInfo(connection);
    await eventually("the next call came", () => calls.length === 2);
    if (calls[1] !== undefined) hostname(calls[1], peer);
    expect(await next).toEqual({ hostname: "h" });
  });

  it("that time out while they wait were never sent", async () => {
    const { connection, daemon } = await open(() => {}, { maxInFlight: 1 });
    const first = rejection(connection.call(table.connectGetHostname, {}, { timeoutMs: 300 }));
    const second = await rejection(connection.call(table.connectGetUri, {}, { timeoutMs: 20 }));
    expect(second).toMatchObject({ kind: "timeout", sent: false, procedure: "connectGetUri" });
    expect(daemon.received.some((frame) => frame.procedure === table.connectGetUri.number)).toBe(false);
    connection.destroy();
    expect(await first).toMatchObject({ kind: "connection-lost", sent: true });
  });

  it("end the connection when each place is held by one that nobody waits for any more", async () => {
    const { connection, lost } = await open(() => {}, { maxInFlight: 2 });
    const stuck = [20, 30].map((timeoutMs) => rejection(connection.call(table.connectGetHostname, {}, { timeoutMs })));
    const behind = rejection(getInfo(connection));
    expect(await Promise.all(stuck)).toEqual([expect.any(Timeout), expect.any(Timeout)]);
    expect(await behind).toMatchObject({ kind: "connection-lost", sent: false });
    expect((await lost).message).toContain("passed its deadline");
  });

  it("never begin where an argument does not fit", async () => {
    const { connection, daemon } = await open(hostname);
    const refused = await rejection(connection.call(table.domainLookupByName, { name: "a\0b" }));
    expect(refused).toMatchObject({ kind: "argument", field: "name" });
    expect(connection.inFlight + connection.waiting).toBe(0);
    expect(await getInfo(connection)).toEqual({ hostname: "h" });
    expect(daemon.received.some((frame) => frame.procedure === table.domainLookupByName.number)).toBe(false);
  });
});

describe("keepalive", () => {
  it("answers a ping with a pong", async () => {
    const { daemon, peer } = await open(() => {});
    peer.raw(pingFrame);
    await eventually("a pong", () => daemon.received.some((f) => f.program === Program.keepalive && f.procedure === 2));
    peer.raw(recorded.ping);
    const pongs = () => daemon.received.filter((f) => f.program === Program.keepalive);
    await eventually("a pong to a real daemon's ping", () => pongs().length === 2);
  });

  it("ends a connection whose pings go unanswered", async () => {
    const { connection, lost } = await open(() => {}, { keepalive: { intervalMs: 10, count: 3 } });
    const call = rejection(getInfo(connection));
    expect((await lost).message).toBe("3 pings went unanswered");
    expect(await call).toMatchObject({ kind: "connection-lost", sent: true });
  });

  it("takes any frame as a sign of life", async () => {
    let pings = 0;
    const script = (frame: Frame, peer: Peer) => {
      if (frame.program !== Program.keepalive) return;
      pings += 1;
      peer.raw(emptyFrame({ program: Program.remote, version: 1, procedure: 9_999, type: 2, serial: 0, status: 0 }));
    };
    const { connection } = await open(script, { keepalive: { intervalMs: 10, count: 2 } });
    await eventually("more pings than may stay unanswered", () => pings > 8);
    expect(await rejection(connection.call(table.connectGetHostname, {}, { timeoutMs: 1 }))).toBeInstanceOf(Timeout);
  });

  it("stops answering a peer that pings without reading, so that its pings do not fill our memory", async () => {
    const { connection, daemon, peer } = await open((frame, to) => {
      if (frame.program === Program.remote) hostname(frame, to);
    });
    peer.socket.pause();
    const pings = Buffer.concat(Array.from({ length: 10_000 }, () => pingFrame));
    for (let sent = 0; sent < 20; sent++) await new Promise<void>((done) => peer.socket.write(pings, () => done()));
    peer.socket.resume();
    expect(await getInfo(connection)).toEqual({ hostname: "h" });
    const pongs = daemon.received.filter((frame) => frame.program === Program.keepalive).length;
    expect(pongs).toBeGreaterThan(0);
    expect(pongs).toBeLessThan(100_000);
  });
});

describe("opening", () => {
  it("rejects with ConnectionLost where nobody listens", async () => {
    const fault = await rejection(openConnection({ socketPath: "/nonexistent/libvirt-sock" }));
    expect(fault).toBeInstanceOf(ConnectionLost);
    expect(fault).toMatchObject({ sent: false, cause: { code: "ENOENT" } });
  });

  it.each([
    ["a path over 107 bytes", `/tmp/${"x".repeat(110)}`, "a unix socket path holds 107 at most"],
    ["an empty path", "", "must not be empty"],
    ["a NUL in the path", "/tmp/a\0b", "NUL"],
  ])("refuses %s", async (_, socketPath, message) => {
    const fault = await rejection(openConnection({ socketPath }));
    expect(fault).toMatchObject({ kind: "argument", field: "socketPath" });
    expect(String(fault)).toContain(message);
  });
});
