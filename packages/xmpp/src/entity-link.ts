import type { Connection } from "@xmpp/client";
import type { Element } from "ltx";
import type { Link, LinkEnd, LinkListener } from "./link.ts";
import { classifyEnd } from "./link-end.ts";
import { LinkSocket } from "./link-socket.ts";
import type { ParsedElement } from "./stanza.ts";

export type EntityLinkOptions = {
  readonly entity: Connection;
  readonly service: string;
  readonly domain: string;
  /** The link is over, and the entity may be used for another: the server may still hold its session (XEP-0198). */
  readonly onReusable?: () => void;
  /** Emits `resumed` and `ack` (XEP-0198), where the stream has it. */
  readonly streamManagement?: {
    readonly enabled: boolean;
    readonly outbound_q: readonly unknown[];
    on(event: string, listener: () => void): unknown;
    off(event: string, listener: () => void): unknown;
  };
};

/** Stanzas that arrive in the same packet as the end of the handshake, until we are told that we are online (S2). */
const EARLY_MAX = 1000;

/** One connection of an xmpp.js entity as a `Link`: whatever the library does or fails to do, it ends exactly once. */
export class EntityLink implements Link {
  readonly #options: EntityLinkOptions;
  readonly #listener: LinkListener;
  readonly #undo: (() => void)[] = [];
  #socket: LinkSocket | undefined;
  #early: ParsedElement[] = [];
  #online = false;
  #opened = false;
  #over = false;
  #reusable = true;

  constructor(options: EntityLinkOptions, listener: LinkListener) {
    this.#options = options;
    this.#listener = listener;
    this.#subscribe();
    void this.#dial();
  }

  get bufferedBytes(): number {
    return this.#socket?.writableLength ?? 0;
  }

  get unackedStanzas(): number {
    const { streamManagement } = this.#options;
    return streamManagement?.enabled === true ? streamManagement.outbound_q.length : 0;
  }

  write(stanza: Element, xml: string): void {
    if (this.#over) return;
    this.#socket?.write(xml, () => {});
    // The library counts the stanza for stream management. It is not asked to send, because it would count only after
    // the kernel took the bytes, and a resumption in between would lose it.
    try {
      this.#options.entity.emit("send", stanza);
    } catch (error) {
      this.#listener.fault("send", error);
    }
  }

  close(): void {
    this.#reusable = false;
    this.#options.entity.stop().catch((error: unknown) => this.#end(classifyEnd(error)));
  }

  destroy(): void {
    this.#over = true;
    for (const undo of this.#undo.splice(0)) undo();
    this.#socket?.destroy();
    // After a negotiation cut short the library still listens for its rest, and would answer the next one twice.
    if (this.#reusable && (this.#online || !this.#opened)) this.#options.onReusable?.();
  }

  #subscribe(): void {
    const { entity, streamManagement } = this.#options;
    const on = (event: string, listener: (argument: never) => void): void => {
      const hear = (argument: unknown): void => listener(argument as never);
      entity.on(event, hear);
      this.#undo.push(() => entity.off(event, hear));
    };
    on("online", () => this.#onOnline(false));
    on("open", () => {
      this.#opened = true;
    });
    on("element", () => this.#socket?.stanzaEnded());
    on("stanza", (stanza: ParsedElement) => this.#onStanza(stanza));
    on("error", (error: unknown) => this.#onError(error));
    // The server may end the stream and leave the connection: the library would wait on it for ever.
    on("close", () => this.#end({ kind: "lost", reason: "the server closed the stream" }));
    on("disconnect", () => this.#end({ kind: "lost", reason: "the connection was closed" }));
    if (streamManagement === undefined) return;
    // After a resumption the library tells nobody else that it is online again.
    const onResumed = (): void => this.#onOnline(true);
    const onAck = (): void => this.#listener.drained();
    streamManagement.on("resumed", onResumed);
    streamManagement.on("ack", onAck);
    this.#undo.push(() => {
      streamManagement.off("resumed", onResumed);
      streamManagement.off("ack", onAck);
    });
  }

  /** Not `entity.start()`: it leaves a promise behind that nobody catches when authentication fails early. */
  async #dial(): Promise<void> {
    const { entity, service, domain } = this.#options;
    // Whoever makes a link has it before it hears from it.
    await Promise.resolve();
    if (this.#over) return;
    try {
      const connecting = entity.connect(service);
      if (entity.socket instanceof LinkSocket) {
        this.#socket = entity.socket;
        this.#socket.on("data", () => this.#listener.alive());
        this.#socket.on("drain", () => this.#listener.drained());
      }
      await connecting;
      if (!this.#over) await entity.open({ domain });
    } catch (error) {
      this.#onError(error);
    }
  }

  #onOnline(resumed: boolean): void {
    if (this.#over || this.#online) return;
    this.#online = true;
    this.#listener.online({ address: String(this.#options.entity.jid), resumed });
    for (const stanza of this.#early.splice(0)) this.#listener.stanza(stanza);
  }

  #onStanza(stanza: ParsedElement): void {
    if (this.#online) this.#listener.stanza(stanza);
    else if (this.#early.length < EARLY_MAX) this.#early.push(stanza);
  }

  #onError(error: unknown): void {
    if (this.#over) return;
    // Once online, only the stream's own errors end it; the library also reports what a single stanza did to it.
    const name = error instanceof Error ? error.name : "";
    if (this.#online && name !== "StreamError" && name !== "XMLError") this.#listener.fault("xmpp.js", error);
    else this.#end(classifyEnd(error));
  }

  #end(end: LinkEnd): void {
    if (this.#over) return;
    if (end.kind === "refused") this.#reusable = false;
    this.destroy();
    this.#listener.ended(end);
  }
}
