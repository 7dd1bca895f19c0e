import { EventEmitter } from "node:events";
import type { Socket } from "node:net";

/** Starts a connection; `ready` is the event after which the stream may begin, `explain` says more than an error does. */
export type Dial = () => {
  readonly socket: Socket;
  readonly ready: "connect" | "secureConnect";
  readonly explain?: (error: Error) => Error;
};

/** Text between two stanzas beyond which the server is sending something we would never take (S2). */
const TEXT_WITHOUT_STANZA_MAX = 1024 * 1024;

/**
 * The socket that xmpp.js is given instead of its own. It decodes UTF-8 across chunk borders, contains what the parser
 * throws, bounds what a stanza may take, and can be destroyed in whatever state it hangs.
 *
 * Events as xmpp.js wants them: `connect`, `data` (text), `error`, `close`; and `drain` for us.
 */
export class LinkSocket extends EventEmitter {
  /** What xmpp.js asks before it offers PLAIN. */
  readonly secure: boolean;
  readonly #dial: Dial;
  #socket: Socket | undefined;
  #textSinceStanza = 0;

  constructor(dial: Dial, secure: boolean) {
    super();
    this.#dial = dial;
    this.secure = secure;
  }

  get writableLength(): number {
    return this.#socket?.writableLength ?? 0;
  }

  /** The parameters that xmpp.js derives from its URI are not used: the dial knows better. */
  connect(): void {
    const { socket, ready, explain = (error) => error } = this.#dial();
    this.#socket = socket;
    // The decoder keeps a character whose bytes straddle two chunks until it is whole.
    socket.setEncoding("utf8");
    socket.setNoDelay(true);
    socket.on(ready, () => this.emit("connect"));
    socket.on("data", (text) => this.#take(String(text)));
    socket.on("drain", () => this.emit("drain"));
    socket.on("error", (error) => this.emit("error", explain(error)));
    socket.on("close", (hadError) => this.emit("close", hadError));
  }

  write(text: string, done?: (error?: Error | null) => void): void {
    if (this.#socket === undefined || this.#socket.destroyed) done?.(new Error("the socket is closed"));
    else this.#socket.write(text, done);
  }

  end(): void {
    this.#socket?.end();
  }

  destroy(error?: Error): void {
    this.#socket?.destroy(error);
  }

  /** A whole stanza was read. */
  stanzaEnded(): void {
    this.#textSinceStanza = 0;
  }

  #take(text: string): void {
    this.#textSinceStanza += text.length;
    if (this.#textSinceStanza > TEXT_WITHOUT_STANZA_MAX) {
      this.destroy(new Error("the server sent a stanza beyond every bound"));
      return;
    }
    try {
      this.emit("data", text);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
