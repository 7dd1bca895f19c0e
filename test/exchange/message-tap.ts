/**
 * A relay in the link of a site's managers to their XMPP server, which is plain there: it knows every message between the
 * two sites by its name, before the server has it from its sender, and when it has come to its receiver.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Endpoint } from "../torture/tcp-relay.ts";

/** `sent`: the server has not got all of it yet. `delivered`: its receiver has it. */
export type Moment = "sent" | "delivered";
export type Passing = { readonly name: string; readonly site: string; readonly moment: Moment };

/** The payload of a stanza at its beginning; what a message quotes of another one stands deeper. */
const PAYLOAD = /<(?:iq|message)\b[^>]*><([a-z-]+)\b[^>]*urn:muster:(?:burst|ledger)[^>]*>/g;
/** As long as the beginning of a stanza can be: one that is cut in two by the network is known all the same. */
const TAIL = 600;

export class MessageTap {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** `passes` is called before what was sent goes on, and after what was delivered has. */
  static async listen(
    site: string,
    from: Endpoint,
    to: Endpoint,
    passes: (message: Passing) => void,
  ): Promise<MessageTap> {
    const server = createServer();
    const tap = new MessageTap(server);
    server.on("connection", (near) => {
      const far = connect(to.port, to.address);
      tap.#join(near, far);
      const [sent, delivered] = [new Names(), new Names()];
      near.on("data", (chunk: Buffer) => {
        for (const name of sent.in(chunk)) passes({ name, site, moment: "sent" });
        far.write(chunk);
      });
      far.on("data", (chunk: Buffer) => {
        near.write(chunk);
        for (const name of delivered.in(chunk)) passes({ name, site, moment: "delivered" });
      });
    });
    server.listen(from.port, from.address);
    await once(server, "listening");
    return tap;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #join(near: Socket, far: Socket): void {
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one);
      one.setNoDelay(true);
      one.on("error", () => {});
      one.once("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  }
}

/** The names of messages in a stream, each once. */
class Names {
  #tail = "";

  in(chunk: Buffer): string[] {
    const text = this.#tail + chunk.toString("latin1");
    const names: string[] = [];
    let end = 0;
    for (const match of text.matchAll(PAYLOAD)) {
      end = match.index + match[0].length;
      if (end > this.#tail.length) names.push(match[1] ?? "");
    }
    this.#tail = text.slice(Math.max(end, text.length - TAIL));
    return names;
  }
}
