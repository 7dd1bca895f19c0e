import { createHash } from "node:crypto";
import { connect, type Socket } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { type ConnectionOptions, connect as connectTls } from "node:tls";

const DEADLINE_MS = 6_000;
const HEADER = "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'";

/** Where a stream goes and by whose certificates the other end is judged. */
export type RawTarget = { readonly address: string; readonly port: number; readonly ca: Buffer };

/**
 * An XMPP stream as text, for tests only: shares no code with what the product uses to speak XMPP, so that a mistake
 * there cannot hide one here.
 */
export class RawStream {
  #socket: Socket;
  #text = "";
  #cursor = 0;
  #closed = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen(socket);
  }

  static async overTcp(target: { readonly address: string; readonly port: number }): Promise<RawStream> {
    const socket = connect({ host: target.address, port: target.port });
    await opened(socket, "connect");
    return new RawStream(socket);
  }

  static async overTls(options: ConnectionOptions): Promise<RawStream> {
    const socket = connectTls(options);
    await opened(socket, "secureConnect");
    return new RawStream(socket);
  }

  /** Everything received so far. */
  get text(): string {
    return this.#text;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(xml: string): void {
    this.#socket.write(xml);
  }

  /** Waits for `pattern` in what was not matched before; throws when the stream ends or time is over. */
  async until(pattern: RegExp, deadlineMs = DEADLINE_MS): Promise<RegExpExecArray> {
    const endMs = performance.now() + deadlineMs;
    for (;;) {
      const match = pattern.exec(this.#text.slice(this.#cursor));
      if (match !== null) {
        this.#cursor += match.index + match[0].length;
        return match;
      }
      const leftMs = endMs - performance.now();
      if (this.#closed || leftMs <= 0)
        throw new Error(`no ${pattern} ${this.#closed ? "before the end" : "in time"}: ${this.#text.slice(-1500)}`);
      await this.#change(leftMs);
    }
  }

  /** Waits until the other end closes. */
  async untilClosed(deadlineMs = DEADLINE_MS): Promise<void> {
    const endMs = performance.now() + deadlineMs;
    while (!this.#closed) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) throw new Error(`still open: ${this.#text.slice(-500)}`);
      await this.#change(leftMs);
    }
  }

  /** Continues over TLS after `<proceed/>`. */
  async startTls(options: ConnectionOptions): Promise<void> {
    this.#socket.removeAllListeners();
    const socket = connectTls({ ...options, socket: this.#socket });
    await opened(socket, "secureConnect");
    this.#socket = socket;
    this.#listen(socket);
  }

  /** Reads nothing from now on, like a stopped process: the connection itself stays. */
  hang(): void {
    this.#socket.removeAllListeners("data");
    this.#socket.pause();
  }

  close(): void {
    this.#socket.destroy();
  }

  #listen(socket: Socket): void {
    const decoder = new StringDecoder("utf8");
    socket.on("data", (chunk) => {
      this.#text += decoder.write(chunk);
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  async #change(withinMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** A component (XEP-0114), linked over plain TCP. */
export async function linkComponent(
  target: { readonly address: string; readonly port: number },
  domain: string,
  secret: string,
): Promise<RawStream> {
  return await linkOver(await RawStream.overTcp(target), domain, secret);
}

/** A component (XEP-0114), linked over a stream that is connected; throws with all that came when it is refused. */
export async function linkOver(stream: RawStream, domain: string, secret: string): Promise<RawStream> {
  stream.send(`<stream:stream xmlns='jabber:component:accept' ${HEADER} to='${domain}'>`);
  const [, id = ""] = await stream.until(/<stream:stream[^>]* id=['"]([^'"]+)['"][^>]*>/);
  stream.send(
    `<handshake>${createHash("sha1")
      .update(id + secret)
      .digest("hex")}</handshake>`,
  );
  await stream.until(/<handshake\s*\/>|<handshake><\/handshake>/);
  return stream;
}

/** A client over direct TLS, its features read, not authenticated. */
export async function openClient(target: RawTarget, domain: string): Promise<RawStream> {
  const { address: host, port, ca } = target;
  const stream = await RawStream.overTls({ host, port, ca, servername: domain });
  stream.send(`<stream:stream xmlns='jabber:client' ${HEADER} to='${domain}'>`);
  await stream.until(/<\/stream:features>/);
  return stream;
}

/** A client with a session as `name@domain/test`; sends no presence. */
export async function logIn(target: RawTarget, domain: string, name: string, password: string): Promise<RawStream> {
  const stream = await openClient(target, domain);
  const plain = Buffer.from(`\0${name}\0${password}`).toString("base64");
  stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`);
  const [outcome] = await stream.until(/<success[^>]*>|<failure.*<\/failure>/);
  if (outcome.startsWith("<failure")) throw new Error(outcome);
  stream.send(`<stream:stream xmlns='jabber:client' ${HEADER} to='${domain}'>`);
  await stream.until(/<\/stream:features>/);
  stream.send(
    "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>test</resource></bind></iq>",
  );
  await stream.until(/<jid>[^<]+\/test<\/jid>/);
  return stream;
}

/** Another site's server, which presents a certificate and calls itself `from`; authenticated (SASL EXTERNAL). */
export async function openPeer(
  target: RawTarget,
  names: { readonly from: string; readonly to: string },
  certificate: { readonly cert: Buffer; readonly key: Buffer },
): Promise<RawStream> {
  const stream = await RawStream.overTcp(target);
  const header = `<stream:stream xmlns='jabber:server' ${HEADER} from='${names.from}' to='${names.to}'>`;
  stream.send(header);
  await stream.until(/<\/stream:features>/);
  stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  await stream.until(/<proceed[^>]*>/);
  await stream.startTls({ ...certificate, ca: target.ca, servername: names.to });
  stream.send(header);
  await stream.until(/<mechanism>EXTERNAL<\/mechanism>.*<\/stream:features>/);
  stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
  await stream.until(/<success[^>]*>/);
  stream.send(header);
  await stream.until(/<stream:features[^>]*>/);
  return stream;
}

async function opened(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no ${event} in time`));
    }, DEADLINE_MS);
    socket.once(event, () => {
      clearTimeout(timer);
      socket.off("error", reject);
      resolve();
    });
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
