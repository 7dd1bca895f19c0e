import { encode } from "../xdr/encode.ts";
import type { Schema } from "../xdr/schema.ts";

/** What a message is for (`virNetMessageType`). */
export const MessageType = { call: 0, reply: 1, message: 2, stream: 3, callWithFds: 4, replyWithFds: 5 } as const;

/** Whether a reply carries a result or an error (`virNetMessageStatus`). */
export const MessageStatus = { ok: 0, error: 1, continue: 2 } as const;

/** Bytes of the length word and the six header words before the body. */
export const HEADER_BYTES = 28;

/** Largest frame the protocol allows, length word included. */
export const FRAME_BYTES_MAX = 33_554_432 + 4;

/** The six words every message starts with. */
export interface Header {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
}

/** One message as it came in. The body is a view of the received bytes. */
export interface Frame extends Header {
  readonly body: Buffer;
}

/** A whole message, ready to be written. Throws `ArgumentRefused` where `value` does not fit `schema`. */
export function encodeFrame<T>(header: Header, schema: Schema<T>, value: T): Buffer<ArrayBuffer> {
  const frame = encode(schema, value, HEADER_BYTES, FRAME_BYTES_MAX - HEADER_BYTES);
  writeHeader(frame, header);
  return frame;
}

/** A message without a body, such as a keepalive ping. */
export function emptyFrame(header: Header): Buffer<ArrayBuffer> {
  const frame = Buffer.alloc(HEADER_BYTES);
  writeHeader(frame, header);
  return frame;
}

/** A message whose body is bytes as they are, such as a packet of a stream. */
export function rawFrame(header: Header, body: Uint8Array): Buffer<ArrayBuffer> {
  const frame = Buffer.alloc(HEADER_BYTES + body.length);
  frame.set(body, HEADER_BYTES);
  writeHeader(frame, header);
  return frame;
}

/** Reads the header of a complete frame. */
export function decodeFrame(frame: Buffer): Frame {
  return {
    program: frame.readUInt32BE(4),
    version: frame.readUInt32BE(8),
    procedure: frame.readInt32BE(12),
    type: frame.readInt32BE(16),
    serial: frame.readUInt32BE(20),
    status: frame.readInt32BE(24),
    body: frame.subarray(HEADER_BYTES),
  };
}

function writeHeader(frame: Buffer, header: Header): void {
  frame.writeUInt32BE(frame.length, 0);
  frame.writeUInt32BE(header.program, 4);
  frame.writeUInt32BE(header.version, 8);
  frame.writeInt32BE(header.procedure, 12);
  frame.writeInt32BE(header.type, 16);
  frame.writeUInt32BE(header.serial, 20);
  frame.writeInt32BE(header.status, 24);
}
