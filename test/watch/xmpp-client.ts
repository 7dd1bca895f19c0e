import { StringDecoder } from "node:string_decoder";
import { connect, type TLSSocket } from "node:tls";
import type { Login } from "./login.ts";
import { attribute, type Shown, shownIn, textOf } from "./stanza-text.ts";

const WITHIN_MS = 20_000;
const STANZA = /<(iq|message|presence)\b(?:[^>]*\/>|[^>]*>[\s\S]*?<\/\1>)/;

/**
 * An XMPP client of nothing but a TLS socket and text (RFC 6120, 6121): what any client could do, so that the product is
 * watched from outside by none of its own code.
 */
export class XmppClient {
  readonly bare: string;
  readonly #socket: TLSSocket;
  #text = "";
  #closed = false;
  #lastId = 0;
  /** Every stanza that arrived, in order. */
  readonly stanzas: string[] = [];
  readonly #waiting = new Set<() => void>();

  private constructor(socket: TLSSocket, { name, domain }: Login) {
    this.#socket = socket;
    this.bare = `${name}@${domain}`;
    const decoder = new StringDecoder("utf8");
    socket.on("data", (chunk) => this.#take(decoder.write(chunk)));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** Connects by direct TLS (XEP-0368), logs in by SASL PLAIN, binds a resource; rejects when refused. */
  static async logIn(login: Login): Promise<XmppClient> {
    const { address, domain, name, password, ca } = login;
    const socket = connect({ host: address, port: 5223, servername: domain, ca: [ca], ALPNProtocols: ["xmpp-client"] });
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
    });
    const client = new XmppClient(socket, login);
    const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='${domain}'>`;
    client.send(header);
    await client.#raw(/<\/stream:features>/);
    const plain = Buffer.from(`\0${name}\0${password}`).toString("base64");
    client.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`);
    const said = await client.#raw(/<success[^>]*>|<\/failure>/);
    if (said.includes("</failure>")) throw new Error(`the login as ${client.bare} was refused`);
    client.send(header);
    await client.#raw(/<\/stream:features>/);
    const bound = await client.iq("set", "", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>");
    if (!bound.includes("<jid>")) throw new Error(`no resource was bound: ${bound}`);
    // Only who asked for the roster is told what becomes of subscriptions (RFC 6121 section 2.1.6).
    await client.iq("get", "", "<query xmlns='jabber:iq:roster'/>");
    return client;
  }

  send = (xml: string): void => void this.#socket.write(xml);
  close = (): void => void this.#socket.destroy();

  /** Sends a request and resolves to its answer, result or error. */
  async iq(type: "get" | "set", to: string, payload: string, more = ""): Promise<string> {
    this.#lastId += 1;
    const id = `w${this.#lastId}`;
    this.send(`<iq type='${type}' id='${id}'${to === "" ? "" : ` to='${to}'`}${more}>${payload}</iq>`);
    return await this.stanza(
      `an answer to ${payload}`,
      (text) => text.startsWith("<iq") && attribute(text, "id") === id,
    );
  }

  /** Says a line in chat and resolves to the text of the answer. */
  async say(to: string, line: string): Promise<string> {
    const from = this.stanzas.length;
    this.send(`<message type='chat' to='${to}'><body>${line}</body></message>`);
    const isReply = (text: string): boolean => text.startsWith("<message") && attribute(text, "from") === to;
    return textOf(await this.stanza(`a reply to ${line}`, isReply, from), "body");
  }

  /** The first stanza from number `from` on that matches, waited for. */
  async stanza(what: string, matches: (text: string) => boolean, from = 0, withinMs = WITHIN_MS): Promise<string> {
    const find = (): string | undefined => this.stanzas.slice(from).find(matches);
    await this.until(
      () => `${what}; last: ${this.stanzas.slice(-5).join("\n")}`,
      () => find() !== undefined,
      withinMs,
    );
    return find() ?? "";
  }

  /** Asks for a contact's presence (RFC 6121 section 3.1) and puts it into the roster. */
  async subscribe(contact: string): Promise<void> {
    await this.iq("set", "", `<query xmlns='jabber:iq:roster'><item jid='${contact}'/></query>`);
    this.send(`<presence type='subscribe' to='${contact}'/>`);
  }

  /** All that a contact has shown since stanza number `from`. */
  shownBy(contact: string, from = 0): readonly Shown[] {
    return this.stanzas.slice(from).flatMap((text) => shownIn(text, contact));
  }

  /** Waits until a contact shows this, from stanza number `from` on, in passing or to stay. */
  async untilShown(contact: string, show: string, status: RegExp, from = 0, withinMs = WITHIN_MS): Promise<void> {
    const seen = (): readonly Shown[] => this.shownBy(contact, from);
    const what = () => `${contact} ${show} ${status}; it showed ${JSON.stringify(seen())}`;
    await this.until(what, () => seen().some((shown) => shown.show === show && status.test(shown.status)), withinMs);
  }

  async until(what: () => string, holds: () => boolean, withinMs = WITHIN_MS): Promise<void> {
    const deadlineMs = performance.now() + withinMs;
    while (!holds()) {
      const leftMs = deadlineMs - performance.now();
      if (this.#closed || leftMs <= 0) throw new Error(`${this.#closed ? "closed" : "not in time"}: ${what()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  async #raw(pattern: RegExp): Promise<string> {
    await this.until(
      () => `${pattern} in ${this.#text}`,
      () => pattern.test(this.#text),
    );
    const text = this.#text;
    this.#text = "";
    return text;
  }

  #take(text: string): void {
    this.#text += text;
    for (let match = STANZA.exec(this.#text); match !== null; match = STANZA.exec(this.#text)) {
      this.stanzas.push(match[0]);
      this.#text = this.#text.slice(match.index + match[0].length);
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}
