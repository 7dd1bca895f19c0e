import { BoundedQueue } from "@muster/base";
import type { Element } from "ltx";
import type { SendOutcome, SendRefusal } from "./bus.ts";
import { hasForbiddenCharacter, STANZA_BYTES_MAX } from "./stanza.ts";

/** Where the outbox puts stanzas: the writing half of a link. */
export type OutboxLink = {
  /** Bytes handed over and not yet taken by the network. */
  readonly bufferedBytes: number;
  /** Stanzas handed over and not yet acknowledged, where the link counts them (XEP-0198); else 0. */
  readonly unackedStanzas: number;
  write(stanza: Element, xml: string): void;
};

export type OutboxBounds = {
  /** Stanzas that may wait for the link; one more is refused. */
  readonly maxQueued: number;
  /** Answers that may wait beyond that: who asked us is not to go without because we talk much (X4). */
  readonly maxQueuedAnswers: number;
  /** Bytes of one stanza as sent. */
  readonly maxStanzaBytes: number;
  /** Above this the socket is left alone until it drains. */
  readonly maxBufferedBytes: number;
  /** Above this we wait for the server to acknowledge. */
  readonly maxUnacked: number;
};

export const OUTBOX_BOUNDS: OutboxBounds = {
  maxQueued: 1024,
  maxQueuedAnswers: 1024,
  maxStanzaBytes: STANZA_BYTES_MAX,
  maxBufferedBytes: 1024 * 1024,
  maxUnacked: 4096,
};

type Waiting = {
  readonly stanza: Element;
  readonly xml: string;
  readonly settle: (outcome: SendOutcome) => void;
};

/**
 * The only way onto the link. A stanza is handed over, waits in a bounded queue while the peer does not read, or is
 * refused at once with the reason (X1, S2). Nothing waits for a link that is not there.
 */
export class Outbox {
  readonly #bounds: OutboxBounds;
  readonly #waiting: BoundedQueue<Waiting>;
  #link: OutboxLink | undefined;
  #refusal: SendRefusal = { kind: "offline", message: "the link was never up" };

  constructor(bounds: Partial<OutboxBounds> = {}) {
    this.#bounds = { ...OUTBOX_BOUNDS, ...bounds };
    this.#waiting = new BoundedQueue(this.#bounds.maxQueued + this.#bounds.maxQueuedAnswers);
  }

  get queued(): number {
    return this.#waiting.size;
  }

  attach(link: OutboxLink): void {
    this.#link = link;
  }

  /** The link is gone: what waits, and what comes until the next link, is refused for this reason. */
  detach(refusal: SendRefusal): void {
    this.#link = undefined;
    this.#refusal = refusal;
    for (const waiting of this.#waiting.drain()) waiting.settle(refusal);
  }

  send(stanza: Element, kind: "own" | "answer" = "own"): Promise<SendOutcome> {
    if (this.#link === undefined) return Promise.resolve(this.#refusal);
    const xml = stanza.toString();
    const refusal = this.#check(xml);
    if (refusal !== undefined) return Promise.resolve(refusal);
    if (this.#waiting.size === 0 && this.#hasRoom(this.#link)) {
      this.#link.write(stanza, xml);
      return Promise.resolve({ kind: "sent" });
    }
    return new Promise((settle) => {
      const mayWait = kind === "answer" || this.#waiting.size < this.#bounds.maxQueued;
      if (mayWait && this.#waiting.push({ stanza, xml, settle })) return;
      const message = `${this.#bounds.maxQueued} stanzas wait for a link that does not drain; send less or later`;
      settle({ kind: "queue-full", message });
    });
  }

  /** The link took some of what it had, or acknowledged some. */
  drained(): void {
    while (this.#link !== undefined && this.#waiting.size > 0 && this.#hasRoom(this.#link)) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#link.write(next.stanza, next.xml);
      next.settle({ kind: "sent" });
    }
  }

  #check(xml: string): SendRefusal | undefined {
    const bytes = Buffer.byteLength(xml);
    if (bytes > this.#bounds.maxStanzaBytes) {
      const message = `the stanza has ${bytes} bytes, ${this.#bounds.maxStanzaBytes} are allowed; send it in pages`;
      return { kind: "too-big", message };
    }
    if (hasForbiddenCharacter(xml)) {
      return {
        kind: "malformed",
        message: "the stanza carries a character that XML forbids; remove control characters",
      };
    }
    return undefined;
  }

  #hasRoom(link: OutboxLink): boolean {
    return link.bufferedBytes < this.#bounds.maxBufferedBytes && link.unackedStanzas < this.#bounds.maxUnacked;
  }
}
