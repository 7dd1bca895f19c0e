import { connect, createServer, type Server, type Socket } from "node:net";

/** A wire that can be cut or frozen: bytes pass between whoever connects here and the target. For tests. */
export class TcpProxy {
  readonly #server: Server;
  readonly #pairs = new Set<{ readonly near: Socket; readonly far: Socket }>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async to(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server);
    server.on("connection", (near) => proxy.#join(near, connect(target)));
    await new Promise<void>((resolve) => server.listen({ host: "127.0.41.9", port: 0 }, resolve));
    return proxy;
  }

  get host(): string {
    return "127.0.41.9";
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Resets what is connected. */
  cut(): void {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  /** What is connected now stays so, and nothing passes any more; later connections are not affected. */
  freeze(): void {
    for (const { near, far } of this.#pairs) {
      for (const socket of [near, far]) {
        socket.unpipe();
        socket.pause();
      }
    }
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket, far: Socket): void {
    const pair = { near, far };
    this.#pairs.add(pair);
    near.pipe(far);
    far.pipe(near);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
  }
}
