import { emptyFrame, type Frame, MessageStatus, MessageType } from "../frame/frame.ts";
import { Program } from "../table/procedure.ts";

const PING = 1;
const PONG = 2;

/** How often to ask whether the daemon is alive, and how many unanswered pings mean that it is not. */
export interface KeepaliveOptions {
  /** Milliseconds between pings; 0 sends none. */
  readonly intervalMs: number;
  /** Pings that may stay unanswered; the next one due ends the connection. */
  readonly count: number;
}

/** The frame that asks the other side whether it is alive. */
export const pingFrame = keepaliveFrame(PING);
/** The frame that answers a ping. */
export const pongFrame = keepaliveFrame(PONG);

/** Whether a message is a ping that wants an answer. */
export function isPing(frame: Frame): boolean {
  return frame.program === Program.keepalive && frame.procedure === PING;
}

/**
 * Watches one connection. Any whole frame from the daemon proves it alive, as in libvirt's own client. A daemon that
 * is stopped still lets the kernel accept connections, so silence is the only sign.
 */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  readonly #timer: NodeJS.Timeout | undefined;
  #unanswered = 0;

  constructor(options: KeepaliveOptions, hooks: { readonly ping: () => void; readonly dead: () => void }) {
    this.#options = options;
    if (options.intervalMs <= 0) return;
    this.#timer = setInterval(() => {
      if (this.#unanswered >= this.#options.count) return hooks.dead();
      this.#unanswered += 1;
      hooks.ping();
    }, options.intervalMs);
    this.#timer.unref();
  }

  /** A frame has come in. */
  heard(): void {
    this.#unanswered = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

function keepaliveFrame(procedure: number): Buffer {
  const { keepalive: program } = Program;
  return emptyFrame({ program, version: 1, procedure, type: MessageType.message, serial: 0, status: MessageStatus.ok });
}
