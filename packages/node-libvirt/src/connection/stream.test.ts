import { afterEach, describe, expect, it } from "vitest";
import { type LibvirtError, ProtocolViolation } from "../fault.ts";
import { type Frame, MessageStatus, MessageType, rawFrame } from "../frame/frame.ts";
import { errorReport } from "../table/fields.ts";
import { procedureTable as table } from "../table/procedures.ts";
import { eventually } from "../testing/eventually.ts";
import { type FakeDaemon, type Peer, replyFrame, startFakeDaemon } from "../testing/fake-daemon.ts";
import type { Connection, OpenStream } from "./connection.ts";
import { openConnection } from "./handshake.ts";

const ARGS = { domain: { name: "a", uuid: "7d1fdb20-3b0f-4e3b-9d8c-0c6a7f6d2a12", id: 1 }, device: null, flags: 0 };
const cleanup: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

type Opened = {
  connection: Connection;
  daemon: FakeDaemon;
  stream: OpenStream;
  data: Buffer[];
  ends: (LibvirtError | undefined)[];
  lost: Promise<Error>;
};

/** A stream to a daemon that answers the call by `answer`, and what comes after it by `packet`. */
async function open(answer: (call: Frame, peer: Peer) => void, packet: (frame: Frame, peer: Peer) => void = () => {}) {
  const daemon = await startFakeDaemon((frame, peer) =>
    frame.type === MessageType.stream ? packet(frame, peer) : answer(frame, peer),
  );
  cleanup.push(() => daemon.stop());
  const lost = Promise.withResolvers<Error>();
  const keepalive = { intervalMs: 0, count: 0 };
  const connection = await openConnection({ socketPath: daemon.socketPath, keepalive }, { lost: lost.resolve });
  cleanup.push(() => connection.destroy());
  const data: Buffer[] = [];
  const ends: (LibvirtError | undefined)[] = [];
  const hooks = {
    data: (bytes: Buffer) => void data.push(bytes),
    end: (fault?: LibvirtError) => void ends.push(fault),
  };
  const stream = await connection.openStream(table.domainOpenConsole, ARGS, hooks);
  return { connection, daemon, stream, data, ends, lost: lost.promise } satisfies Opened;
}
function packetOf(call: Frame, status: number, body: Uint8Array = new Uint8Array(), serial = call.serial): Buffer {
  const { program, version, procedure } = call;
  return rawFrame({ program, version, procedure, serial, type: MessageType.stream, status }, body);
}
const ok = (call: Frame) => replyFrame(call, table.domainOpenConsole.result, {});

describe("a stream", () => {
  it("gets what lies in the same chunk as the answer that opened it", async () => {
    const { data, ends } = await open((call, peer) =>
      peer.raw(
        Buffer.concat([
          ok(call),
          packetOf(call, MessageStatus.continue, Buffer.from("ab")),
          packetOf(call, MessageStatus.ok),
        ]),
      ),
    );
    expect(Buffer.concat(data).toString()).toBe("ab");
    expect(ends).toEqual([undefined]);
  });

  it("sends packets under the call's serial, and its end, which the daemon confirms", async () => {
    const { daemon, stream, ends } = await open(
      (call, peer) => peer.raw(ok(call)),
      (frame, peer) => {
        if (frame.status === MessageStatus.ok) peer.raw(packetOf(frame, MessageStatus.ok));
      },
    );
    stream.write(Buffer.from("typed"));
    stream.finish();
    await eventually("the end", () => ends.length === 1);
    const packets = daemon.received.filter(({ type }) => type === MessageType.stream);
    expect(packets.map(({ status, body }) => [status, body.toString()])).toEqual([
      [MessageStatus.continue, "typed"],
      [MessageStatus.ok, ""],
    ]);
    expect(stream.write(Buffer.from("late"))).toBe(true);
    expect(daemon.received.filter(({ type }) => type === MessageType.stream)).toHaveLength(2);
  });

  it("that the daemon gives up ends with its reason", async () => {
    const { ends } = await open((call, peer) => {
      peer.raw(ok(call));
      const report = { code: 38, domain: 10, message: "gone", level: 2, dom: null, str1: null, str2: null, str3: null };
      const body = { ...report, int1: 0, int2: 0, net: null };
      peer.raw(replyFrame(call, errorReport, body, { type: MessageType.stream, status: MessageStatus.error }));
    });
    await eventually("the end", () => ends.length === 1);
    expect(ends[0]).toMatchObject({ kind: "libvirt", code: 38, message: "gone" });
  });

  it.each([
    [
      "of a serial that is no stream's",
      (call: Frame) => packetOf(call, MessageStatus.continue, Buffer.from("a"), 4_711),
    ],
    [
      "after its end",
      (call: Frame) => Buffer.concat([packetOf(call, MessageStatus.ok), packetOf(call, MessageStatus.ok)]),
    ],
    ["of an unknown status", (call: Frame) => packetOf(call, 9)],
  ])("a packet %s ends the connection as a violation", async (_what, packet) => {
    const { lost } = await open((call, peer) => {
      peer.raw(ok(call));
      peer.raw(packet(call));
    });
    expect(await lost).toBeInstanceOf(ProtocolViolation);
  });

  it("that nobody reads makes the daemon wait, and goes on when it is read again", async () => {
    const { connection, daemon, data } = await open((call, peer) => {
      peer.raw(ok(call));
    });
    connection.pause();
    const [peer] = daemon.peers;
    const [call] = daemon.received.filter(({ procedure }) => procedure === table.domainOpenConsole.number);
    if (peer === undefined || call === undefined) throw new Error("nobody connected");
    const packet = packetOf(call, MessageStatus.continue, Buffer.alloc(60_000, 1));
    const all = 200;
    for (let sent = 0; sent < all; sent += 1) peer.raw(packet);
    expect(peer.socket.writableLength).toBeGreaterThan(1_000_000);
    connection.resume();
    await eventually("everything arrived", () => data.length === all);
  });
});
