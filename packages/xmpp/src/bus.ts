/**
 * Port Bus: one authenticated XMPP link (a client account or a component) as the managers see it.
 *
 * Delivery is best effort by contract: a stanza may be lost, repeated or reordered (XMPP gives no more across servers),
 * so whoever uses a Bus carries ids and terms of its own. What a Bus does promise:
 *
 * - X1 a sent stanza is either handed to the link or refused at once with a reason; nothing queues without bound (S2);
 * - X2 an answer is accepted only from the address that was asked, under an id nobody can guess;
 * - X3 every call ends: with an answer, its deadline, or `disconnected` the moment the link is gone;
 * - X4 an incoming request gets exactly one answer, a well-formed error when nobody handles it (RFC 6120 section 8.2.3);
 * - X5 a link that hangs is noticed by our own clock and replaced.
 */
import type { Element } from "ltx";
import type { StanzaFault } from "./stanza-fault.ts";

/** Where the link stands. `online` also after a stream resumption (XEP-0198). */
export type BusStatus =
  | { readonly kind: "offline"; readonly reason: string }
  | { readonly kind: "connecting"; readonly attempt: number }
  | { readonly kind: "online"; readonly address: string; readonly resumed: boolean }
  | { readonly kind: "stopped" }
  /** The server will never let us in as we are (wrong secret, conflict): the owner decides, the Bus does not retry. */
  | {
      readonly kind: "refused";
      readonly reason: "conflict" | "not-authorized" | "host-unknown";
      readonly text: string;
    };

/**
 * Why a stanza was not handed to the link. `malformed`: it carries characters XML forbids, or a `from` that is not ours;
 * a server would close the whole stream over it.
 */
export type SendRefusal = {
  readonly kind: "offline" | "queue-full" | "too-big" | "malformed" | "stopped";
  readonly message: string;
};
export type SendOutcome = { readonly kind: "sent" } | SendRefusal;

/** A question to another address: exactly one payload child. */
export type IqRequest = {
  readonly to: string;
  /** Components may speak as any address below their domain; clients leave it out. */
  readonly from?: string;
  readonly type: "get" | "set";
  readonly payload: Element;
  readonly timeoutMs: number;
};

/** How a question ended. `timeout` and `disconnected` mean *unknown*: the other side may have acted (B2). */
export type IqOutcome =
  | { readonly kind: "result"; readonly from: string; readonly payload?: Element }
  | { readonly kind: "error"; readonly from: string; readonly fault: StanzaFault }
  | { readonly kind: "timeout" }
  | { readonly kind: "disconnected" }
  | { readonly kind: "not-sent"; readonly refusal: SendRefusal };

/** A question that reached us, already checked to have exactly one payload child. */
export type IncomingIq = {
  readonly from: string;
  readonly to: string;
  readonly type: "get" | "set";
  readonly payload: Element;
};
export type IqAnswer =
  | { readonly kind: "result"; readonly payload?: Element }
  | { readonly kind: "error"; readonly fault: StanzaFault };
export type IqHandler = (iq: IncomingIq) => Promise<IqAnswer> | IqAnswer;

/** A message or presence that reached us. `type` is "" where the stanza has none. */
export type IncomingStanza = {
  readonly from: string;
  readonly to: string;
  readonly type: string;
  readonly id: string;
  readonly stanza: Element;
};

export type Unsubscribe = () => void;

/** The port. Adapters: `xmppClientBus`, `xmppComponentBus`, `memoryBus`; one contract suite for all. */
export type Bus = {
  readonly status: BusStatus;
  /** Starts linking and keeps linking until `stop`. Returns at once; watch `onStatus`. */
  start(): void;
  /** Closes the link, ends every pending call as `disconnected`. Idempotent. */
  stop(): Promise<void>;
  onStatus(listener: (status: BusStatus) => void): Unsubscribe;
  /** Sends a `<message/>` or `<presence/>`. Resolves when the link took it (back pressure), or with the refusal. */
  send(stanza: Element): Promise<SendOutcome>;
  request(iq: IqRequest): Promise<IqOutcome>;
  /** Routes incoming IQs by type, namespace and name of the payload. A second handler for one route is a bug: throws. */
  handle(type: "get" | "set", namespace: string, name: string, handler: IqHandler): Unsubscribe;
  onMessage(listener: (message: IncomingStanza) => void): Unsubscribe;
  onPresence(listener: (presence: IncomingStanza) => void): Unsubscribe;
};
