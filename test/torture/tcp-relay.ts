import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type Clock, systemClock } from "@muster/base";

/** What a relay does with what passes: as it is, late, not at all for now, or not at all and never again. */
export type RelayMode =
  | { readonly kind: "pass" }
  | { readonly kind: "delay"; readonly delayMs: number }
  /** Takes connections and data, and delivers nothing until the mode changes: a cable that is out. */
  | { readonly kind: "hold" }
  /** Ends every connection and takes no new one. */
  | { readonly kind: "cut" };

export type Endpoint = { readonly address: string; readonly port: number };

/** A TCP relay that treats a link as a bad network does. What it holds stays with the kernel: its memory is bounded. */
export class TcpRelay {
  readonly #server: Server;
  readonly #target: Endpoint;
  readonly #clock: Clock;
  readonly #sockets = new Set<Socket>();
  #mode: RelayMode = { kind: "pass" };
  #changed = Promise.withResolvers<void>();

  private constructor(server: Server, target: Endpoint, clock: Clock) {
    this.#server = server;
    this.#target = target;
    this.#clock = clock;
    server.on("connection", (socket) => this.#accept(socket));
  }

  /** Listens on `from`; rejects where the address is taken. */
  static async listen(from: Endpoint, to: Endpoint, clock: Clock = systemClock): Promise<TcpRelay> {
    const server = createServer({ allowHalfOpen: true });
    const relay = new TcpRelay(server, to, clock);
    server.listen(from.port, from.address);
    await once(server, "listening");
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Connections through the relay now. */
  get connections(): number {
    return this.#sockets.size / 2;
  }

  set mode(mode: RelayMode) {
    this.#mode = mode;
    if (mode.kind === "cut") this.drop();
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** Ends every connection; new ones are taken as the mode says. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.mode = { kind: "cut" };
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #accept(near: Socket): void {
    near.on("error", () => {});
    if (this.#mode.kind === "cut") {
      near.destroy();
      return;
    }
    const far = connect({ host: this.#target.address, port: this.#target.port, allowHalfOpen: true });
    far.on("error", () => {});
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.once("close", () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    void this.#carry(near, far);
    void this.#carry(far, near);
  }

  async #carry(from: Socket, to: Socket): Promise<void> {
    try {
      for await (const chunk of from) {
        await this.#leave();
        if (to.destroyed) return;
        if (!to.write(chunk)) await Promise.race([once(to, "drain"), once(to, "close")]);
      }
      await this.#leave();
      to.end();
    } catch {
      // One of the two ended: its `close` ends the other.
    }
  }

  /** Resolves when what has arrived may go on. */
  async #leave(): Promise<void> {
    const mode = this.#mode;
    if (mode.kind === "delay") await new Promise<void>((resolve) => this.#clock.setTimer(mode.delayMs, resolve));
    while (this.#mode.kind === "hold") await this.#changed.promise;
  }
}
