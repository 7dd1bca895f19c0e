import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeFrame, type Frame, type Header, MessageStatus, MessageType } from "../frame/frame.ts";
import { FrameSplitter } from "../frame/frame-splitter.ts";
import { connectProcedures } from "../table/connect.ts";
import { errorReport } from "../table/fields.ts";
import { type Procedure, Program } from "../table/procedure.ts";
import { procedureTable } from "../table/procedures.ts";
import type { Schema } from "../xdr/schema.ts";

/** One client of the fake daemon, to whom anything can be sent. */
export class Peer {
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  /** Sends bytes as they are. */
  raw(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Answers a call. */
  reply<R>(call: Frame, procedure: Procedure<unknown, R>, result: R): void {
    this.raw(replyFrame(call, procedure.result, result));
  }

  /** Refuses a call the way libvirt does. */
  refuse(call: Frame, code: number, message: string): void {
    const report = { code, domain: 10, message, level: 2, dom: null, str1: null, str2: null, str3: null };
    const value = { ...report, int1: 0, int2: 0, net: null };
    this.raw(replyFrame(call, errorReport, value, { status: MessageStatus.error }));
  }
}

/** A server at the level of bytes that opens a hypervisor politely and leaves everything else to `script`. */
export interface FakeDaemon {
  readonly socketPath: string;
  readonly peers: readonly Peer[];
  /** Every frame received, in order. */
  readonly received: readonly Frame[];
  stop(): Promise<void>;
}

/**
 * Starts one. `script` is called for each frame that is not part of opening and closing, and for every frame of the
 * peers from number `rudeFrom` on (0 is the first).
 */
export async function startFakeDaemon(
  script: (frame: Frame, peer: Peer) => void,
  rudeFrom = Number.POSITIVE_INFINITY,
): Promise<FakeDaemon> {
  const folder = await mkdtemp(join(tmpdir(), "nlv-fake-"));
  const socketPath = join(folder, "sock");
  const peers: Peer[] = [];
  const received: Frame[] = [];
  const server = createServer((socket) => {
    const peer = new Peer(socket);
    const isPolite = peers.length < rudeFrom;
    peers.push(peer);
    const splitter = new FrameSplitter(1 << 25);
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      for (const frame of splitter.push(chunk)) {
        received.push(frame);
        if (!isPolite || !openPolitely(frame, peer)) script(frame, peer);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return { socketPath, peers, received, stop: () => stop(server, peers, folder) };
}

/** A reply to `call`, with any word of its header replaced. */
export function replyFrame<R>(call: Frame, schema: Schema<R>, result: R, changes: Partial<Header> = {}): Buffer {
  const { program, version, procedure, serial } = call;
  const header = { program, version, procedure, serial, type: MessageType.reply, status: MessageStatus.ok, ...changes };
  return encodeFrame(header, schema, result);
}

/** A message that nobody asked for, such as an event. */
export function messageFrame<T>(number: number, schema: Schema<T>, value: T): Buffer {
  const header = { program: Program.remote, version: 1, procedure: number, serial: 0, status: MessageStatus.ok };
  return encodeFrame({ ...header, type: MessageType.message }, schema, value);
}

function openPolitely(frame: Frame, peer: Peer): boolean {
  if (frame.program !== Program.remote) return false;
  switch (frame.procedure) {
    case procedureTable.authList.number:
      peer.reply(frame, connectProcedures.authList, { types: [0] });
      return true;
    case procedureTable.connectSupportsFeature.number:
      peer.reply(frame, connectProcedures.connectSupportsFeature, { supported: 1 });
      return true;
    case procedureTable.connectOpen.number:
      peer.reply(frame, connectProcedures.connectOpen, {});
      return true;
    case procedureTable.connectClose.number:
      peer.reply(frame, connectProcedures.connectClose, {});
      return true;
    default:
      return false;
  }
}

async function stop(server: Server, peers: readonly Peer[], folder: string): Promise<void> {
  for (const { socket } of peers) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await rm(folder, { recursive: true, force: true });
}
