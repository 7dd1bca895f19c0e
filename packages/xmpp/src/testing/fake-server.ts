import { createServer, type Server, type Socket } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { createServer as createTlsServer } from "node:tls";

const STREAMS = "http://etherx.jabber.org/streams";
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const BIND = "urn:ietf:params:xml:ns:xmpp-bind";
const DEADLINE_MS = 8_000;

/** The server's end of one connection, as bytes. For tests. */
export class FakePeer {
  readonly socket: Socket;
  #text = "";
  #cursor = 0;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    const decoder = new StringDecoder("utf8");
    socket.on("data", (chunk) => {
      this.#text += decoder.write(chunk);
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => this.#wake());
  }

  /** All that was received. */
  get text(): string {
    return this.#text;
  }

  send(xml: string | Uint8Array): void {
    this.socket.write(xml);
  }

  /** Waits for `pattern` in what was not matched before; throws at the deadline or the end of the connection. */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    const endMs = performance.now() + DEADLINE_MS;
    for (;;) {
      const match = pattern.exec(this.#text.slice(this.#cursor));
      if (match !== null) {
        this.#cursor += match.index + match[0].length;
        return match;
      }
      const leftMs = endMs - performance.now();
      if (leftMs <= 0 || this.socket.destroyed) throw new Error(`no ${pattern} in: ${this.#text.slice(-500)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Answers the component's handshake (XEP-0114), whatever the secret; `more` goes out in the same packet. */
  async acceptComponent(more = ""): Promise<this> {
    await this.until(/<stream:stream[^>]*>/);
    this.send(`<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='${STREAMS}' id='1'>`);
    await this.until(/<handshake[^>]*>[0-9a-f]{40}<\/handshake>/);
    this.send(`<handshake/>${more}`);
    return this;
  }

  /** Opens the stream as a client's server does, with the features given. */
  async openClient(features: string): Promise<this> {
    await this.until(/<stream:stream[^>]*>/);
    this.send(`<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='${STREAMS}' id='1' `);
    this.send(`from='alpha.test' version='1.0'><stream:features>${features}</stream:features>`);
    return this;
  }

  /** Lets a client in as `ann@alpha.test/desk`, whatever the password. */
  async acceptClient(more = ""): Promise<this> {
    await this.openClient(PLAIN);
    await this.until(/<auth[^>]*>[^<]*<\/auth>/);
    this.send(`<success xmlns='${SASL}'/>`);
    await this.openClient(`<bind xmlns='${BIND}'/>`);
    const [, id] = await this.until(/<iq[^>]* id="([^"]+)"[^>]*><bind/);
    this.send(`<iq type='result' id='${id}'><bind xmlns='${BIND}'><jid>ann@alpha.test/desk</jid></bind></iq>${more}`);
    return this;
  }
}

export const PLAIN = `<mechanisms xmlns='${SASL}'><mechanism>PLAIN</mechanism></mechanisms>`;

/** A server that does on each connection what the test says. For tests. */
export class FakeServer {
  readonly host = "127.0.41.8";
  readonly #server: Server;
  readonly #peers: FakePeer[] = [];
  #script: (peer: FakePeer, index: number) => Promise<unknown> = async () => {};
  #fault: unknown;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async listen(tls?: { readonly key: string; readonly cert: string }): Promise<FakeServer> {
    const server = tls === undefined ? createServer() : createTlsServer({ ...tls, ALPNProtocols: ["xmpp-client"] });
    const fake = new FakeServer(server);
    server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => fake.#meet(socket));
    server.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => server.listen({ host: fake.host, port: 0 }, resolve));
    return fake;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Connections so far, in order. */
  get peers(): readonly FakePeer[] {
    return this.#peers;
  }

  /** What to do on each connection from now on. */
  onPeer(script: (peer: FakePeer, index: number) => Promise<unknown>): void {
    this.#script = script;
  }

  /** Ends everything; throws what a script met, if the connection was still there. */
  async close(): Promise<void> {
    for (const { socket } of this.#peers) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    if (this.#fault !== undefined) throw this.#fault;
  }

  #meet(socket: Socket): void {
    const peer = new FakePeer(socket);
    this.#peers.push(peer);
    this.#script(peer, this.#peers.length - 1).catch((error: unknown) => {
      if (!socket.destroyed) this.#fault ??= error;
    });
  }
}
