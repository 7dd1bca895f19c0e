import { assert, type Clock, type Rng } from "@muster/base";
import { Element } from "ltx";
import { bareAddress, domainOf, parseAddress, sameAddress } from "./address.ts";
import type {
  Bus,
  BusStatus,
  IncomingStanza,
  IqHandler,
  IqOutcome,
  IqRequest,
  SendOutcome,
  SendRefusal,
  Unsubscribe,
} from "./bus.ts";
import { IqCaller } from "./iq-caller.ts";
import type { Connector, Link } from "./link.ts";
import { SUPERVISOR_TIMES, type SupervisorTimes } from "./link-state.ts";
import { LinkSupervisor } from "./link-supervisor.ts";
import { Outbox, type OutboxBounds } from "./outbox.ts";
import { IqRouter } from "./router.ts";
import { adoptStanza, type ParsedElement, STANZA_BYTES_MAX, STANZA_DEPTH_MAX, type StanzaBounds } from "./stanza.ts";
import { stanzaFault } from "./stanza-fault.ts";

/** What every Bus can be given, whatever its link. */
export type BusOptions = {
  readonly clock: Clock;
  /** Jitter of the backoff. */
  readonly rng: Rng;
  readonly times?: Partial<SupervisorTimes>;
  readonly outbox?: Partial<OutboxBounds>;
  readonly inbound?: Partial<StanzaBounds>;
  readonly maxPendingCalls?: number;
  readonly maxRequestsInFlight?: number;
  readonly answerWithinMs?: number;
  /** Something odd that was survived (a handler threw, a stanza was dropped): for the log, no secrets in it. */
  readonly onFault?: (where: string, error: unknown) => void;
  /** Ids of calls; only where a run must be repeatable. */
  readonly newId?: () => string;
};

/** Who we are on the link. */
export type LinkIdentity =
  | { readonly kind: "client"; readonly account: string }
  | { readonly kind: "component"; readonly domain: string };

/** A Bus over links that `connect` makes: the same promises for a real server and for the network in memory. */
export function linkedBus(identity: LinkIdentity, connect: Connector, options: BusOptions): Bus {
  return new LinkedBus(identity, connect, options);
}

class LinkedBus implements Bus {
  readonly #identity: LinkIdentity;
  readonly #options: BusOptions;
  readonly #inbound: StanzaBounds;
  readonly #outbox: Outbox;
  readonly #caller: IqCaller;
  readonly #router: IqRouter;
  readonly #supervisor: LinkSupervisor;
  readonly #statusListeners = new Set<(status: BusStatus) => void>();
  readonly #messageListeners = new Set<(message: IncomingStanza) => void>();
  readonly #presenceListeners = new Set<(presence: IncomingStanza) => void>();
  #status: BusStatus = { kind: "offline", reason: "not started" };
  #address: string;

  constructor(identity: LinkIdentity, connect: Connector, options: BusOptions) {
    const { clock, rng } = options;
    this.#identity = identity;
    this.#options = options;
    this.#address = identity.kind === "client" ? identity.account : identity.domain;
    this.#inbound = { maxBytes: STANZA_BYTES_MAX, maxDepth: STANZA_DEPTH_MAX, ...options.inbound };
    this.#outbox = new Outbox(options.outbox);
    this.#caller = new IqCaller({
      clock,
      send: (iq) => this.#outbox.send(iq),
      ownAddress: () => this.#address,
      emptyFromIsOwn: identity.kind === "client",
      ...(options.maxPendingCalls === undefined ? {} : { maxPending: options.maxPendingCalls }),
      ...(options.newId === undefined ? {} : { newId: options.newId }),
    });
    this.#router = new IqRouter({
      clock,
      send: (answer) => this.#outbox.send(answer, "answer"),
      ownAddress: () => bareAddress(this.#address),
      onFault: (where, error) => this.#report(where, error),
      ...(options.maxRequestsInFlight === undefined ? {} : { maxInFlight: options.maxRequestsInFlight }),
      ...(options.answerWithinMs === undefined ? {} : { answerWithinMs: options.answerWithinMs }),
    });
    this.#supervisor = new LinkSupervisor({
      clock,
      rng,
      connect,
      times: { ...SUPERVISOR_TIMES, ...options.times },
      onStatus: (status, link) => this.#onStatus(status, link),
      onStanza: (stanza) => this.#onStanza(stanza),
      onDrained: () => this.#outbox.drained(),
      onFault: (where, error) => this.#report(where, error),
      ping: () => this.#ping(),
    });
  }

  get status(): BusStatus {
    return this.#status;
  }

  start(): void {
    this.#supervisor.start();
  }

  stop(): Promise<void> {
    return this.#supervisor.stop();
  }

  onStatus(listener: (status: BusStatus) => void): Unsubscribe {
    return subscribe(this.#statusListeners, listener);
  }

  onMessage(listener: (message: IncomingStanza) => void): Unsubscribe {
    return subscribe(this.#messageListeners, listener);
  }

  onPresence(listener: (presence: IncomingStanza) => void): Unsubscribe {
    return subscribe(this.#presenceListeners, listener);
  }

  handle(type: "get" | "set", namespace: string, name: string, handler: IqHandler): Unsubscribe {
    return this.#router.handle(type, namespace, name, handler);
  }

  async send(stanza: Element): Promise<SendOutcome> {
    assert(stanza.name === "message" || stanza.name === "presence", "an iq goes through request or handle");
    const from = this.#from(stanza.attrs.from);
    if (typeof from === "object") return from;
    const misdirected = checkTo(stanza.attrs.to);
    if (misdirected !== undefined) return misdirected;
    if (from !== undefined) stanza.attrs.from = from;
    return this.#outbox.send(stanza);
  }

  async request(iq: IqRequest): Promise<IqOutcome> {
    const from = this.#from(iq.from);
    if (typeof from === "object") return { kind: "not-sent", refusal: from };
    const misdirected = checkTo(iq.to);
    if (misdirected !== undefined) return { kind: "not-sent", refusal: misdirected };
    return this.#caller.request(from === undefined ? iq : { ...iq, from });
  }

  /** A forged `from` makes a server close the stream, so it never gets there. A component has to give one (XEP-0114). */
  #from(from: string | undefined): string | undefined | SendRefusal {
    if (this.#identity.kind === "component") {
      const { domain } = this.#identity;
      if (from === undefined || from === "") return domain;
      if (domainOf(from) === domain.toLowerCase()) return from;
      return { kind: "malformed", message: `from must be an address at ${domain}, not ${from}` };
    }
    if (from === undefined || from === "") return undefined;
    if (sameAddress(from, this.#address) || sameAddress(from, bareAddress(this.#address))) return from;
    return { kind: "malformed", message: `from must be our own address ${this.#address} or left out, not ${from}` };
  }

  #ping(): void {
    const [to, from] =
      this.#identity.kind === "component"
        ? [this.#identity.domain, this.#identity.domain]
        : [domainOf(this.#identity.account), undefined];
    const iq = new Element("iq", { type: "get", id: `ping-${this.#options.clock.nowMs()}`, to, from });
    iq.c("ping", { xmlns: "urn:xmpp:ping" });
    void this.#outbox.send(iq);
  }

  #onStatus(status: BusStatus, link: Link | undefined): void {
    this.#status = status;
    if (status.kind === "online" && link !== undefined) {
      this.#address = status.address;
      this.#outbox.attach(link);
    } else {
      this.#outbox.detach({
        kind: status.kind === "stopped" ? "stopped" : "offline",
        message: status.kind === "offline" ? `offline: ${status.reason}` : `the link is ${status.kind}`,
      });
      this.#caller.disconnected();
    }
    this.#tell(this.#statusListeners, status);
  }

  #onStanza(parsed: ParsedElement): void {
    const { kind, stanza } = adoptStanza(parsed, this.#inbound);
    if (stanza.attrs.from !== undefined && stanza.attrs.from !== "" && parseAddress(stanza.attrs.from) === undefined) {
      this.#report("receive", new Error(`dropped a ${stanza.name} whose sender is no address`));
      return;
    }
    if (stanza.name === "iq") {
      this.#onIq(kind, stanza);
      return;
    }
    if (kind === "too-big") {
      this.#report("receive", new Error(`dropped a ${stanza.name} over the bound from ${stanza.attrs.from}`));
      return;
    }
    const incoming = {
      from: stanza.attrs.from || bareAddress(this.#address),
      to: stanza.attrs.to || this.#address,
      type: stanza.attrs.type ?? "",
      id: stanza.attrs.id ?? "",
      stanza,
    };
    if (stanza.name === "message") this.#tell(this.#messageListeners, incoming);
    if (stanza.name === "presence") this.#tell(this.#presenceListeners, incoming);
  }

  #onIq(kind: "stanza" | "too-big", iq: Element): void {
    if (iq.attrs.type === "result" || iq.attrs.type === "error") {
      // An answer over the bound is no answer: its call ends at the deadline, as unknown.
      if (kind === "too-big") {
        this.#report("receive", new Error(`dropped an answer over the bound`));
        return;
      }
      this.#caller.accept(iq);
      return;
    }
    if (kind === "stanza") {
      this.#router.accept(iq);
      return;
    }
    const text = `A stanza may have ${this.#inbound.maxBytes} bytes and ${this.#inbound.maxDepth} levels; send it in pages.`;
    this.#router.refuse(iq, stanzaFault("policy-violation", text));
  }

  /** A listener that throws is a bug of its owner's; the other listeners and the link go on. */
  #tell<Value>(listeners: Set<(value: Value) => void>, value: Value): void {
    for (const listener of [...listeners]) {
      try {
        listener(value);
      } catch (error) {
        this.#report("listener", error);
      }
    }
  }

  #report(where: string, error: unknown): void {
    this.#options.onFault?.(where, error);
  }
}

function checkTo(to: string | undefined): SendRefusal | undefined {
  if (to === undefined || parseAddress(to) !== undefined) return undefined;
  return { kind: "malformed", message: `to must be an XMPP address such as name@domain, not ${to.slice(0, 100)}` };
}

function subscribe<Listener>(listeners: Set<Listener>, listener: Listener): Unsubscribe {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
