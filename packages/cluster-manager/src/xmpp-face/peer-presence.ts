/**
 * Presence between sites: `cloud.<domain>` shows each peer what our policy lets it see, and hears what peers show of themselves.
 * The peering is the subscription (RFC 6121 section 3): nobody has to ask, and nobody else is told. Changes are gathered, and
 * said only where they differ from what that peer was told last.
 */
import type { CancelTimer } from "@muster/base";
import { mayBorrow } from "@muster/broker";
import { cloudAddress, type SitePresence, sitePresenceMessage } from "@muster/protocol";
import type { IncomingStanza } from "@muster/xmpp";
import { Element } from "ltx";
import { NotServingError } from "../leadership/not-serving.ts";
import type { FaceContext } from "./face-context.ts";
import { cloudOf } from "./peer-door.ts";
import type { PeerWatch } from "./peer-watch.ts";

/** Changes within this time are said as one. */
const GATHER_MS = 1_000;
/** How often it is looked at again, for what changes by time alone: opening hours, the end of a maintenance. */
const LOOK_AGAIN_MS = 15_000;

export class PeerPresence {
  readonly #context: FaceContext;
  readonly #watch: PeerWatch;
  /** What each peer was told last. */
  readonly #told = new Map<string, string>();
  #cancelFlush: CancelTimer | undefined;
  #cancelLook: CancelTimer = () => {};
  #stopped = false;

  constructor(context: FaceContext, watch: PeerWatch) {
    this.#context = context;
    this.#watch = watch;
  }

  start(): void {
    this.#context.bus.onStatus((status) => {
      if (status.kind === "online") this.again();
    });
    this.#look();
  }

  /** Says and asks everything anew: nobody knows what was told before, and what peers said meanwhile was not heard. */
  again(): void {
    this.#told.clear();
    this.changed();
    this.#probeAll().catch((error: unknown) => this.#fault(error));
  }

  /** What a peer may see can be another now. */
  changed(): void {
    if (this.#stopped) return;
    this.#cancelFlush ??= this.#context.clock.setTimer(GATHER_MS, () => {
      this.#cancelFlush = undefined;
      this.#tellAll().catch((error: unknown) => this.#fault(error));
    });
  }

  /** Takes a presence that comes from a peer, or claims to; `false`: it is none of a site's. */
  takePresence({ from, to, type, stanza }: IncomingStanza): boolean {
    const { loop, domain } = this.#context;
    const peer = cloudOf(from);
    if (peer === undefined || peer === domain) return false;
    const peering = loop.views.peering(peer, loop.nowMs());
    // A site without a peering gets no answer at all, and is not remembered.
    if (peering === undefined || to !== cloudAddress(domain)) return true;
    if (this.#watch.admit(peer, peering.lend.rate) !== undefined) return true;
    switch (type) {
      case "":
      case "available":
        this.#hear(peer, stanza);
        return true;
      case "unavailable":
        loop.post({ kind: "peer-presence", peer, presence: undefined });
        return true;
      case "subscribe":
        void this.#send(new Element("presence", { from: cloudAddress(domain), to: from, type: "subscribed" }));
        this.#again(peer);
        return true;
      case "probe":
        this.#again(peer);
        return true;
      default:
        return true;
    }
  }

  /** Stops; `goodbye` where nobody takes over. */
  async stop(how: "goodbye" | "silent"): Promise<void> {
    this.#stopped = true;
    this.#cancelFlush?.();
    this.#cancelLook();
    if (how === "goodbye")
      for (const peer of this.#told.keys()) await this.#sayGone(peer, "the cluster manager stopped");
  }

  #hear(peer: string, stanza: Element): void {
    const said = stanza
      .getChildElements()
      .find((child) => child.is(sitePresenceMessage.name, sitePresenceMessage.namespace));
    if (said === undefined) return;
    const decoded = sitePresenceMessage.decode(said);
    if (decoded.ok) this.#context.loop.post({ kind: "peer-presence", peer, presence: decoded.value });
    else this.#context.log.warn({ peer, field: decoded.error[0]?.field }, "a peer's presence cannot be read");
  }

  #again(peer: string): void {
    this.#told.delete(peer);
    this.changed();
  }

  async #tellAll(): Promise<void> {
    const shown = await this.#read();
    if (shown === undefined) return;
    for (const [peer, presence] of shown) {
      const text = JSON.stringify(presence);
      if (this.#stopped || this.#told.get(peer) === text) continue;
      if (!(await this.#send(this.#stanza(peer, presence)))) return;
      this.#told.set(peer, text);
    }
    for (const peer of [...this.#told.keys()])
      if (!shown.has(peer)) {
        this.#told.delete(peer);
        await this.#sayGone(peer, "the peering is not in force");
      }
  }

  /** By peer; `undefined`: nothing can be said now, so what was shown stays. */
  #read(): Promise<ReadonlyMap<string, SitePresence> | undefined> {
    const reading = this.#context.loop.read((views, nowMs) => {
      if (!views.site(nowMs).reconciled) return undefined;
      const shown = new Map<string, SitePresence>();
      for (const { domain } of views.peers(nowMs)) {
        const presence = views.shownTo(domain, nowMs);
        if (presence !== undefined) shown.set(domain, presence);
      }
      return shown;
    });
    return reading.catch((error: unknown) => {
      if (error instanceof NotServingError) return undefined;
      throw error;
    });
  }

  #stanza(peer: string, presence: SitePresence): Element {
    const stanza = new Element("presence", { from: cloudAddress(this.#context.domain), to: cloudAddress(peer) });
    const { maintenance, accepting, free } = presence;
    if (maintenance !== undefined) stanza.c("show").t("xa");
    else if (!accepting || free.vcpus === 0) stanza.c("show").t("dnd");
    stanza.c("status").t(statusOf(presence));
    stanza.append(sitePresenceMessage.encode(presence));
    return stanza;
  }

  async #sayGone(peer: string, why: string): Promise<void> {
    const from = cloudAddress(this.#context.domain);
    const stanza = new Element("presence", { from, to: cloudAddress(peer), type: "unavailable" });
    stanza.c("status").t(why);
    await this.#send(stanza);
  }

  async #probeAll(): Promise<void> {
    const { loop, domain } = this.#context;
    const peers = await loop.read((views, nowMs) =>
      views.peers(nowMs).flatMap((peer) => views.peering(peer.domain, nowMs) ?? []),
    );
    for (const peering of peers)
      if (mayBorrow(peering))
        await this.#send(
          new Element("presence", { from: cloudAddress(domain), to: cloudAddress(peering.domain), type: "probe" }),
        );
  }

  async #send(stanza: Element): Promise<boolean> {
    return (await this.#context.bus.send(stanza)).kind === "sent";
  }

  #look(): void {
    this.#cancelLook = this.#context.clock.setTimer(LOOK_AGAIN_MS, () => {
      this.changed();
      this.#look();
    });
  }

  #fault(error: unknown): void {
    if (!(error instanceof NotServingError))
      this.#context.log.error({ error: String(error) }, "presence for peers met a fault");
  }
}

/** One line for people. */
function statusOf({ maintenance, accepting, reason, free, classes }: SitePresence): string {
  if (maintenance !== undefined) {
    const until = maintenance.until === undefined ? "" : ` until ${maintenance.until}`;
    return `maintenance${until}: ${maintenance.reason}`;
  }
  if (!accepting) return reason ?? "lends nothing now";
  const by = classes.map((one) => `${one.free.vcpus} vCPU ${one.name}`);
  return [`about ${free.vcpus} vCPU to lend`, ...by].join(", ");
}
