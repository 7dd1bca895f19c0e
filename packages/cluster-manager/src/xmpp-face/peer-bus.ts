/**
 * The Bus as the doors of peers see it: everybody is `cloud.<domain>` there, whichever way the sites speak. What goes to a
 * peer that comes as an account goes to that account; what goes to a peer at whose server we log in goes over that login; what
 * comes is let through under the peer's domain only where it came the way that was agreed (B5).
 */
import { backoffMs, type CancelTimer, type Rng } from "@muster/base";
import { cloudAddress, refusal, siteOfCloud } from "@muster/protocol";
import {
  type Bus,
  type BusStatus,
  bareAddress,
  type IncomingStanza,
  type IqHandler,
  type IqOutcome,
  type IqRequest,
  prepareAddress,
  type SendOutcome,
  stanzaFault,
  type Unsubscribe,
} from "@muster/xmpp";
import type { Element } from "ltx";
import { NotServingError } from "../leadership/not-serving.ts";
import { type Arrival, addressOf, type ClientReach, speakerOf } from "../peering/reach.ts";
import { revokeAccount } from "./enrolment.ts";
import type { FaceContext } from "./face-context.ts";
import { whenOnline } from "./peer-door.ts";
import { refuseIq } from "./refusal-fault.ts";

/** Logs in at a peer's server; throws where the configuration of the login cannot be used. */
export type MakeLogin = (reach: ClientReach) => Bus;

/** A login that was refused, for instance since another manager took it, is tried again while we still lead. */
const REFUSED_RETRY = { baseMs: 10_000, maxMs: 300_000 };
const LOOK_AGAIN_MS = 200;
/** So long a login may take before what was to go over it counts as not sent. */
const LOGIN_WITHIN_MS = 5_000;

type Login = {
  readonly mark: string;
  readonly reach: ClientReach;
  bus: Bus | undefined;
  refusals: number;
  cancelRetry: CancelTimer;
};

type Route = { readonly type: "get" | "set"; readonly namespace: string; readonly name: string; handler: IqHandler };

export class PeerBus implements Bus {
  readonly #context: FaceContext;
  readonly #makeLogin: MakeLogin | undefined;
  readonly #rng: Rng;
  readonly #logins = new Map<string, Login>();
  readonly #routes = new Set<Route>();
  readonly #messageListeners = new Set<(message: IncomingStanza) => void>();
  readonly #presenceListeners = new Set<(presence: IncomingStanza) => void>();
  /** Accounts of ours that were seen to be some peer's, and those that were taken away. */
  readonly #accounts = new Set<string>();
  readonly #onLogin: () => void;
  #cancelLook: CancelTimer = () => {};
  #stopped = false;
  #unsubscribe: () => void = () => {};

  /** `onLogin`: a peer is within reach that was not a moment ago. */
  constructor(context: FaceContext, makeLogin: MakeLogin | undefined, rng: Rng, onLogin: () => void = () => {}) {
    this.#onLogin = onLogin;
    this.#context = context;
    this.#makeLogin = makeLogin;
    this.#rng = rng;
  }

  get status(): BusStatus {
    return this.#context.bus.status;
  }

  start(): void {
    const { bus } = this.#context;
    bus.onMessage((message) => this.#deliver(message, COMPONENT, this.#messageListeners));
    this.#unsubscribe = bus.onStatus(({ kind }) => {
      if (kind === "online") this.changed();
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    this.#cancelLook();
    const logins = [...this.#logins.keys()];
    await Promise.all(logins.map((domain) => this.#close(domain)));
  }

  /** Who is a peer, or how one is reached, has changed: logs in where we are to be, and out where not any more. */
  changed(): void {
    const { loop, log, clock, domain } = this.#context;
    loop
      .read((views) => ({ logins: views.reaches().logins(), accounts: views.reaches().accounts(domain) }))
      .then(({ logins, accounts }) => {
        if (this.#stopped) return;
        this.#follow(logins);
        return this.#clear(accounts);
      })
      .catch((error: unknown) => {
        if (this.#stopped) return;
        if (!(error instanceof NotServingError)) log.error({ error: String(error) }, "the logins at peers met a fault");
        // A new leader is online before it has read its store.
        this.#cancelLook();
        this.#cancelLook = clock.setTimer(LOOK_AGAIN_MS, () => this.changed());
      });
  }

  onStatus(listener: (status: BusStatus) => void): Unsubscribe {
    return this.#context.bus.onStatus(listener);
  }

  /** What comes over logins; on the component's link, where hosts and people are too, ask `ofPeer`. */
  onPresence(listener: (presence: IncomingStanza) => void): Unsubscribe {
    this.#presenceListeners.add(listener);
    return () => this.#presenceListeners.delete(listener);
  }

  onMessage(listener: (message: IncomingStanza) => void): Unsubscribe {
    this.#messageListeners.add(listener);
    return () => this.#messageListeners.delete(listener);
  }

  handle(type: "get" | "set", namespace: string, name: string, handler: IqHandler): Unsubscribe {
    const route = { type, namespace, name, handler };
    this.#routes.add(route);
    const takenBack = this.#listen(this.#context.bus, route, COMPONENT);
    for (const [peer, { bus }] of this.#logins)
      if (bus !== undefined) this.#listen(bus, route, { kind: "login", peer });
    return () => {
      this.#routes.delete(route);
      takenBack();
    };
  }

  async request(iq: IqRequest): Promise<IqOutcome> {
    const { bus, clock, loop } = this.#context;
    const peer = siteOfCloud(iq.to);
    const reach = peer === undefined ? undefined : loop.views.reaches().reachOf(peer);
    if (peer === undefined || reach === undefined) return bus.request(iq);
    if (reach.kind === "account") return bus.request({ ...iq, to: addressOf(peer, reach) });
    const login = this.#logins.get(peer)?.bus;
    if (login !== undefined) await whenOnline({ bus: login, clock }, Math.min(iq.timeoutMs, LOGIN_WITHIN_MS));
    if (login?.status.kind !== "online") return notLoggedIn(iq.to, reach, login?.status);
    const { from: _ours, ...rest } = iq;
    return login.request(rest);
  }

  send(stanza: Element): Promise<SendOutcome> {
    const { bus, loop } = this.#context;
    const to: string = stanza.attrs.to ?? "";
    const peer = siteOfCloud(to);
    const reach = peer === undefined ? undefined : loop.views.reaches().reachOf(peer);
    if (peer === undefined || reach === undefined) return bus.send(stanza);
    if (reach.kind === "account") {
      stanza.attrs.to = addressOf(peer, reach);
      return bus.send(stanza);
    }
    const login = this.#logins.get(peer)?.bus;
    if (login === undefined) return Promise.resolve({ kind: "offline", message: `not logged in as ${reach.jid}` });
    delete stanza.attrs.from;
    return login.send(stanza);
  }

  #listen(bus: Bus, { type, namespace, name, handler }: Route, arrival: Arrival): Unsubscribe {
    return bus.handle(type, namespace, name, (iq) => {
      const from = this.#speaker(iq.from, arrival);
      return from === undefined ? refuseIq(OTHER_WAY) : handler({ ...iq, from });
    });
  }

  /** A stanza of the component's link as the doors of peers are to see it; `undefined`: of a peer that comes another way. */
  ofPeer(stanza: IncomingStanza): IncomingStanza | undefined {
    const from = this.#speaker(stanza.from, COMPONENT);
    return from === undefined ? undefined : { ...stanza, from };
  }

  #deliver(stanza: IncomingStanza, arrival: Arrival, listeners: ReadonlySet<(stanza: IncomingStanza) => void>): void {
    const from = this.#speaker(stanza.from, arrival);
    if (from === undefined) return;
    // At a login we are the account; for the doors we are the site.
    const to = arrival.kind === "login" ? cloudAddress(this.#context.domain) : stanza.to;
    for (const listener of [...listeners]) listener({ ...stanza, from, to });
  }

  /** The sender under its site's address; strangers on the component's link as they are, for the doors to turn away. */
  #speaker(from: string, arrival: Arrival): string | undefined {
    const reaches = this.#context.loop.views.reaches();
    const prepared = prepareAddress(from);
    const isExact = siteOfCloud(prepared) === undefined || prepared === bareAddress(prepared);
    const peer = isExact ? speakerOf(bareAddress(from), arrival, reaches) : undefined;
    if (peer !== undefined) return cloudAddress(peer);
    const cloud = siteOfCloud(prepared);
    if (arrival.kind === "login" || (cloud !== undefined && reaches.reachOf(cloud) !== undefined)) return undefined;
    return from;
  }

  #follow(wanted: readonly { readonly domain: string; readonly reach: ClientReach }[]): void {
    const marks = new Map(wanted.map(({ domain, reach }) => [domain, JSON.stringify(reach)]));
    for (const [domain, { mark }] of this.#logins) if (marks.get(domain) !== mark) void this.#close(domain);
    for (const { domain, reach } of wanted) {
      if (this.#logins.has(domain)) continue;
      const mark = marks.get(domain) ?? "";
      const login: Login = { mark, reach, bus: undefined, refusals: 0, cancelRetry: () => {} };
      this.#logins.set(domain, login);
      this.#open(domain, login);
    }
  }

  #open(domain: string, login: Login): void {
    const { log } = this.#context;
    const { jid, service } = login.reach;
    try {
      if (this.#makeLogin === undefined) throw new Error("this manager has no way to log in anywhere");
      login.bus = this.#makeLogin(login.reach);
    } catch (error) {
      log.error({ peer: domain, jid, error: error instanceof Error ? error.message : String(error) }, CANNOT_LOG_IN);
      this.#retry(domain, login);
      return;
    }
    const { bus } = login;
    bus.onStatus((status) => {
      if (status.kind === "online") {
        login.refusals = 0;
        log.info({ peer: domain, jid, service }, "logged in at the peer");
        this.#onLogin();
      }
      if (status.kind !== "refused" || this.#logins.get(domain) !== login) return;
      log.warn({ peer: domain, jid, service, reason: status.reason, text: status.text }, CANNOT_LOG_IN);
      this.#retry(domain, login);
    });
    const arrival = { kind: "login", peer: domain } as const;
    bus.onMessage((message) => this.#deliver(message, arrival, this.#messageListeners));
    bus.onPresence((presence) => this.#deliver(presence, arrival, this.#presenceListeners));
    for (const route of this.#routes) this.#listen(bus, route, arrival);
    bus.start();
  }

  #retry(domain: string, login: Login): void {
    const delayMs = backoffMs({ attempt: login.refusals, ...REFUSED_RETRY }, this.#rng);
    login.refusals += 1;
    login.cancelRetry = this.#context.clock.setTimer(delayMs, () => {
      if (this.#stopped || this.#logins.get(domain) !== login) return;
      void login.bus?.stop();
      this.#open(domain, login);
    });
  }

  async #close(domain: string): Promise<void> {
    const login = this.#logins.get(domain);
    if (login === undefined) return;
    this.#logins.delete(domain);
    login.cancelRetry();
    await login.bus?.stop();
  }

  /** Accounts of peerings that are over are taken away, with their sessions. */
  async #clear({ open, over }: { readonly open: readonly string[]; readonly over: readonly string[] }): Promise<void> {
    const gone = new Set([...over, ...[...this.#accounts].filter((jid) => !open.includes(jid))]);
    this.#accounts.clear();
    for (const jid of open) this.#accounts.add(jid);
    for (const jid of gone) await revokeAccount(this.#context, jid);
  }
}

function notLoggedIn(to: string, { jid }: ClientReach, status: BusStatus | undefined): IqOutcome {
  const why =
    status?.kind === "refused" ? `${status.reason}${status.text === "" ? "" : `, ${status.text}`}` : "no connection";
  return { kind: "error", from: to, fault: stanzaFault("remote-server-timeout", `not logged in as ${jid}: ${why}`) };
}

const COMPONENT = { kind: "component" } as const;
const CANNOT_LOG_IN = "the login at the peer is refused; it is tried again while this manager leads";
const OTHER_WAY = refusal(
  "forbidden",
  "other-way",
  "what your site says here has to come the way that the peering names: see muster peer show",
);
