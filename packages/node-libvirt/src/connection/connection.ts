import { createConnection, type Socket } from "node:net";
import { type CallFault, ConnectionLost, LibvirtError, Overloaded, ProtocolViolation, Timeout } from "../fault.ts";
import { encodeFrame, FRAME_BYTES_MAX, type Frame, MessageStatus, MessageType, rawFrame } from "../frame/frame.ts";
import { FrameSplitter } from "../frame/frame-splitter.ts";
import { errorReport } from "../table/fields.ts";
import { type Procedure, Program } from "../table/procedure.ts";
import { decode } from "../xdr/decode.ts";
import { CallBook } from "./call-book.ts";
import { deadlineTimer } from "./deadline.ts";
import { isPing, Keepalive, type KeepaliveOptions, pingFrame, pongFrame } from "./keepalive.ts";
import { checkSocketPath } from "./socket-path.ts";

/** Unwritten bytes above which pings go unanswered: a peer that pings without reading must not fill our memory. */
const PONG_BACKLOG_BYTES = 1 << 20;

/** What one connection needs to know. */
export interface ConnectionOptions {
  /** Path of the daemon's unix socket, such as `/run/libvirt/libvirt-sock`. */
  readonly socketPath: string;
  /** Deadline of a call that names none, in milliseconds; `Infinity` for none. Default 30 000. */
  readonly callTimeoutMs?: number;
  /** Calls on the wire at once. Keep it below the daemon's `max_client_requests`, which is 5 by default. Default 4. */
  readonly maxInFlight?: number;
  /** Calls that may wait for a place; the next one is refused. Default 1 024. */
  readonly maxWaiting?: number;
  /** Pings to the daemon. Default every 5 000 ms, dead after 5 unanswered. */
  readonly keepalive?: KeepaliveOptions;
  /** Largest frame accepted, in bytes. Default is the protocol's own limit of 32 MiB. */
  readonly maxFrameBytes?: number;
}

/** How to make one call. */
export interface CallOptions {
  /** Deadline in milliseconds, waiting for a place included; `Infinity` for none. */
  readonly timeoutMs?: number;
}

/** What comes in on a stream, and what happens to it. */
export interface StreamHooks {
  /** Bytes; whoever cannot take more pauses the connection. */
  readonly data: (bytes: Buffer) => void;
  /** The daemon has no more to send; or it gave the stream up, and says why. Told once, unless the connection is lost. */
  readonly end: (fault?: LibvirtError) => void;
}

/** A stream that a call opened (`virNetMessageType` stream): bytes both ways under the call's serial. */
export interface OpenStream {
  /** Sends bytes, at most {@link STREAM_BYTES_MAX}. False: the socket is full; wait for `drained`. */
  write(bytes: Uint8Array): boolean;
  /** There is no more to send. The daemon confirms by ending the stream as well. */
  finish(): void;
}

/** Most bytes of one packet: what every libvirt accepts (`VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX`, less some). */
export const STREAM_BYTES_MAX = 65_536;

/** Who a packet of a stream is for. */
interface StreamEntry {
  readonly procedure: Pick<Procedure<unknown, unknown>, "name" | "program" | "number">;
  readonly hooks: StreamHooks;
}

/** What the connection tells its owner. */
export interface ConnectionHooks {
  /** An event of the remote program came in. Called once per message, in order of arrival. */
  readonly message?: (procedure: number, body: Buffer) => void;
  /** The connection is over; told once. */
  readonly lost?: (fault: ConnectionLost | ProtocolViolation) => void;
}

/**
 * One socket to a daemon that speaks RPC but has no hypervisor open yet (see `handshake`). Rejections are the typed
 * faults of `fault.ts`; whatever the other side sends, a call ends by its deadline at the latest.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #hooks: ConnectionHooks;
  readonly #book: CallBook;
  readonly #splitter: FrameSplitter;
  readonly #keepalive: Keepalive;
  readonly #callTimeoutMs: number;
  readonly #maxWaiting: number;
  readonly #streams = new Map<number, StreamEntry>();
  #end: ConnectionLost | ProtocolViolation | undefined;

  /** Connects the socket within `timeoutMs`. Rejects with {@link ConnectionLost} or {@link Timeout}. */
  static async connect(options: ConnectionOptions, hooks: ConnectionHooks, timeoutMs: number): Promise<Connection> {
    checkSocketPath(options.socketPath);
    const { socketPath } = options;
    return new Promise((resolve, reject) => {
      const socket = createConnection({ path: socketPath });
      const timer = deadlineTimer(timeoutMs, () => {
        socket.destroy();
        reject(new Timeout({ procedure: "connect", timeoutMs, sent: false }));
      });
      const fail = (cause: Error) => {
        timer.clear();
        reject(new ConnectionLost(`cannot connect to ${socketPath}: ${cause.message}`, { sent: false, cause }));
      };
      socket.once("error", fail);
      socket.once("connect", () => {
        timer.clear();
        socket.off("error", fail);
        resolve(new Connection(socket, options, hooks));
      });
    });
  }

  private constructor(socket: Socket, options: ConnectionOptions, hooks: ConnectionHooks) {
    this.#socket = socket;
    this.#hooks = hooks;
    this.#callTimeoutMs = options.callTimeoutMs ?? 30_000;
    this.#maxWaiting = options.maxWaiting ?? 1_024;
    this.#book = new CallBook(options.maxInFlight ?? 4, this.#maxWaiting);
    this.#splitter = new FrameSplitter(options.maxFrameBytes ?? FRAME_BYTES_MAX);
    const keepalive = options.keepalive ?? { intervalMs: 5_000, count: 5 };
    this.#keepalive = new Keepalive(keepalive, {
      ping: () => this.#write(pingFrame),
      dead: () => this.#fail(new ConnectionLost(`${keepalive.count} pings went unanswered`, { sent: false })),
    });
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", (cause) => this.#fail(new ConnectionLost(cause.message, { sent: false, cause })));
    socket.on("close", () => this.#fail(new ConnectionLost("the daemon closed the connection", { sent: false })));
  }

  /** Calls sent and not answered, abandoned ones included. */
  get inFlight(): number {
    return this.#book.inFlight;
  }

  /** Calls waiting for a place on the wire. */
  get waiting(): number {
    return this.#book.waiting;
  }

  /**
   * Makes a call. `released` is told when the daemon is done with it, which may be long after a timeout: libvirt
   * cannot cancel a call.
   */
  call<A, R>(procedure: Procedure<A, R>, args: A, options: CallOptions = {}, released = noop): Promise<R> {
    return this.#call(procedure, args, options, released, noop).then(({ result }) => result);
  }

  #call<A, R>(
    procedure: Procedure<A, R>,
    args: A,
    options: CallOptions,
    released: () => void,
    answered: (serial: number) => void,
  ): Promise<{ readonly serial: number; readonly result: R }> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal();
      if (refusal !== undefined) {
        released();
        return reject(refusal);
      }
      const serial = this.#book.nextSerial();
      const frame = encodeCall(procedure, serial, args, released);
      const timeoutMs = options.timeoutMs ?? this.#callTimeoutMs;
      const timer = deadlineTimer(timeoutMs, () => {
        const { sent } = this.#book.abandon(serial);
        reject(new Timeout({ procedure: procedure.name, timeoutMs, sent }));
        this.#endIfClogged();
      });
      this.#book.add({
        procedure: procedure as Procedure<unknown, unknown>,
        serial,
        frame,
        answer: (body, isError) => {
          timer.clear();
          try {
            if (isError) return reject(readError(body, procedure.name));
            const result = decode(procedure.result, body);
            // At once, and not when the promise is noticed: what follows may lie in the same chunk.
            answered(serial);
            resolve({ serial, result });
          } catch (error) {
            reject(error);
          }
        },
        reject: (fault) => {
          timer.clear();
          reject(fault);
        },
        released,
      });
      this.#pump();
    });
  }

  /**
   * Makes a call that opens a stream. What comes in on it is told to `hooks` from the moment of the answer on. There is no
   * flow control in the protocol but the socket's own: a connection with a stream is best used for nothing else.
   */
  openStream<A>(
    procedure: Procedure<A, unknown>,
    args: A,
    hooks: StreamHooks,
    options: CallOptions = {},
  ): Promise<OpenStream> {
    const opened = (serial: number) => this.#streams.set(serial, { procedure, hooks });
    return this.#call(procedure, args, options, noop, opened).then(({ serial }) => ({
      write: (bytes) => this.#writeStream(procedure, serial, MessageStatus.continue, bytes),
      finish: () => void this.#writeStream(procedure, serial, MessageStatus.ok, new Uint8Array()),
    }));
  }

  /** Takes nothing more from the socket until `resume`; the daemon has to wait as well. Pings go unanswered meanwhile. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Calls back once when the socket can take more, or is gone. */
  drained(callback: () => void): void {
    if (this.#end !== undefined || !this.#socket.writableNeedDrain) {
      callback();
      return;
    }
    const once = () => {
      this.#socket.off("drain", once);
      this.#socket.off("close", once);
      callback();
    };
    this.#socket.once("drain", once);
    this.#socket.once("close", once);
  }

  /** Ends the connection at once. Calls under way are rejected with {@link ConnectionLost}. */
  destroy(reason = "the connection was closed"): void {
    this.#fail(new ConnectionLost(reason, { sent: false }));
  }

  #refusal(): CallFault | undefined {
    if (this.#end !== undefined) return asSent(this.#end, false);
    return this.#book.isFull ? new Overloaded("the connection's queue is full", this.#maxWaiting) : undefined;
  }

  #pump(): void {
    for (let call = this.#book.takeReady(); call !== undefined; call = this.#book.takeReady()) this.#write(call.frame);
  }

  #write(frame: Buffer): void {
    if (this.#end === undefined) this.#socket.write(frame);
  }

  /** With every place held by a call nobody waits for, only a new connection gets the callers behind them going. */
  #endIfClogged(): void {
    if (this.#book.isClogged) this.destroy("every call in flight has passed its deadline");
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#splitter.push(chunk)) {
        if (this.#end !== undefined) return;
        this.#keepalive.heard();
        this.#dispatch(frame);
      }
    } catch (error) {
      if (!(error instanceof ProtocolViolation)) throw error;
      this.#fail(error);
    }
  }

  #dispatch(frame: Frame): void {
    if (frame.type === MessageType.reply) {
      this.#reply(frame);
    } else if (frame.type === MessageType.stream) {
      this.#stream(frame);
    } else if (frame.type !== MessageType.message) {
      throw new ProtocolViolation(`a message of type ${frame.type} was not asked for`);
    } else if (isPing(frame)) {
      if (this.#socket.writableLength < PONG_BACKLOG_BYTES) this.#write(pongFrame);
    } else if (frame.program === Program.remote) this.#hooks.message?.(frame.procedure, frame.body);
  }

  #reply(frame: Frame): void {
    if (frame.status !== MessageStatus.ok && frame.status !== MessageStatus.error) {
      throw new ProtocolViolation(`a reply has the unknown status ${frame.status}`);
    }
    const match = this.#book.settle(frame.serial, frame.procedure, frame.program);
    if (match.kind === "none") {
      throw new ProtocolViolation(`a reply to procedure ${frame.procedure}, serial ${frame.serial}, matches no call`);
    }
    if (match.kind === "call") match.call.answer(frame.body, frame.status === MessageStatus.error);
    this.#pump();
  }

  #stream({ serial, procedure, program, status, body }: Frame): void {
    const stream = this.#streams.get(serial);
    if (stream === undefined || stream.procedure.number !== procedure || stream.procedure.program !== program) {
      throw new ProtocolViolation(`a packet of procedure ${procedure}, serial ${serial}, belongs to no stream`);
    }
    if (status === MessageStatus.continue) {
      stream.hooks.data(body);
      return;
    }
    this.#streams.delete(serial);
    if (status === MessageStatus.ok) stream.hooks.end();
    else if (status === MessageStatus.error) stream.hooks.end(readError(body, stream.procedure.name));
    else throw new ProtocolViolation(`a packet has the unknown status ${status}`);
  }

  #writeStream(procedure: StreamEntry["procedure"], serial: number, status: number, bytes: Uint8Array): boolean {
    if (this.#end !== undefined || !this.#streams.has(serial)) return true;
    const { program, number } = procedure;
    const header = { program, version: 1, procedure: number, type: MessageType.stream, serial, status };
    return this.#socket.write(rawFrame(header, bytes));
  }

  #fail(fault: ConnectionLost | ProtocolViolation): void {
    if (this.#end !== undefined) return;
    this.#end = fault;
    this.#keepalive.stop();
    this.#socket.destroy();
    this.#streams.clear();
    this.#book.clear((sent) => asSent(fault, sent));
    this.#hooks.lost?.(fault);
  }
}

function encodeCall<A>(procedure: Procedure<A, unknown>, serial: number, args: A, released: () => void): Buffer {
  const { program, number } = procedure;
  const header = { program, version: 1, procedure: number, type: MessageType.call, serial, status: MessageStatus.ok };
  try {
    return encodeFrame(header, procedure.args, args);
  } catch (error) {
    released();
    throw error;
  }
}

function readError(body: Buffer, procedure: string): LibvirtError {
  const { code, domain, level, message } = decode(errorReport, body);
  return new LibvirtError({ code, domain, level, message: message ?? "unknown error", procedure });
}

/** The fault as one call sees it. A violation stays what it is where the call was sent, as it may be its answer. */
function asSent(fault: ConnectionLost | ProtocolViolation, sent: boolean): CallFault {
  if (fault instanceof ProtocolViolation && sent) return new ProtocolViolation(fault.message);
  const cause = fault instanceof ProtocolViolation ? fault : fault.cause;
  return new ConnectionLost(fault.message, cause === undefined ? { sent } : { sent, cause });
}

function noop(): void {}
