import type { Element } from "ltx";
import type { Address } from "./address.ts";
import type { Link, LinkEnd, LinkListener } from "./link.ts";
import { addressText } from "./memory-paths.ts";

/** What one direction of a frozen link holds before a kernel would stop taking more. */
const FROZEN_MAX = 4096;

/** How many addresses one client may have shown itself to; more are shown but not told of its end (S2). */
const SHOWN_MAX = 10_000;

type MemoryLinkServer = {
  /** Takes what the client wrote. */
  route(xml: string): void;
  /** The server notices that the link is gone. */
  gone(): void;
};

/** One link to a server in memory, both ends of it. */
export class MemoryLink implements Link {
  readonly kind: "client" | "component";
  readonly address: Address;
  /** Full address or component domain: what a server knows the session by. */
  readonly key: string;
  /** Whether the client sent initial presence (RFC 6121 section 4.2). */
  available = false;
  /** Whom the client sent directed presence. */
  readonly shownTo = new Set<string>();
  readonly unackedStanzas = 0;
  readonly #listener: LinkListener;
  readonly #server: MemoryLinkServer;
  #over = false;
  #frozen = false;
  #outward: string[] = [];
  #inward: Element[] = [];

  constructor(kind: "client" | "component", address: Address, listener: LinkListener, server: MemoryLinkServer) {
    this.kind = kind;
    this.address = address;
    this.key = addressText(address);
    this.#listener = listener;
    this.#server = server;
  }

  /** The client's end is closed. */
  get over(): boolean {
    return this.#over;
  }

  get bufferedBytes(): number {
    return this.#outward.reduce((bytes, xml) => bytes + Buffer.byteLength(xml), 0);
  }

  admit(): void {
    this.#listener.online({ address: this.key, resumed: false });
  }

  write(_stanza: Element, xml: string): void {
    if (this.#over) return;
    if (this.#frozen) this.#outward.push(xml);
    else this.#server.route(xml);
  }

  deliver(stanza: Element): void {
    if (this.#frozen) {
      if (this.#inward.length < FROZEN_MAX) this.#inward.push(stanza);
    } else if (!this.#over) {
      this.#listener.alive();
      this.#listener.stanza(stanza);
    }
  }

  show(to: string): void {
    if (this.shownTo.size < SHOWN_MAX) this.shownTo.add(to);
  }

  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    for (const xml of this.#outward.splice(0)) this.#server.route(xml);
    // Only now does the server see that the client left while the link hung.
    if (this.#over) {
      this.#server.gone();
      return;
    }
    for (const stanza of this.#inward.splice(0)) this.deliver(stanza);
    this.#listener.drained();
  }

  /** The server's side ends the link. On a frozen link the client cannot know. */
  end(end: LinkEnd): void {
    if (this.#over || this.#frozen) return;
    this.#over = true;
    this.#listener.ended(end);
  }

  close(): void {
    if (this.#frozen || this.#over) return;
    this.#over = true;
    this.#server.gone();
    this.#listener.ended({ kind: "lost", reason: "closed" });
  }

  destroy(): void {
    this.#over = true;
    if (!this.#frozen) this.#server.gone();
  }
}
