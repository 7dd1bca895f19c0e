import { refusal } from "@muster/protocol";
import { bareAddress, type IncomingIq, type IncomingStanza, type IqAnswer } from "@muster/xmpp";
import { Element } from "ltx";
import { sees } from "../api/permission.ts";
import type { Actor } from "../core/event.ts";
import { type Contact, contactAddress, contactAt, presenceOf } from "./contact.ts";
import type { FaceContext } from "./face-context.ts";
import { OncePer } from "./once-per.ts";
import type { PresenceBoard } from "./presence-board.ts";
import { refuseIq } from "./refusal-fault.ts";
import type { WatchList } from "./watch-list.ts";
import type { Watchers } from "./watchers.ts";

/** A stranger hears no once in this time, and silence after that: two robots must not talk for ever. */
const STRANGER_EVERY_MS = 60_000;
const NS_VCARD = "vcard-temp";

export type RosterParts = {
  readonly watchers: Watchers;
  readonly watches: WatchList;
  readonly board: PresenceBoard;
};

/** Subscriptions of ordinary XMPP accounts to the site's contacts (RFC 6121 section 3), by permission per bare address. */
export class Roster {
  readonly #context: FaceContext;
  readonly #parts: RosterParts;
  readonly #strangers: OncePer;

  constructor(context: FaceContext, parts: RosterParts) {
    this.#context = context;
    this.#parts = parts;
    this.#strangers = new OncePer(context.clock, STRANGER_EVERY_MS);
  }

  start(): void {
    this.#context.bus.handle("get", NS_VCARD, "vCard", (iq) => this.#vCard(iq));
  }

  /** Watchers whose permission was taken away are let go; what they may not watch any more, too. */
  async dropForbidden(): Promise<void> {
    const { watches, watchers } = this.#parts;
    for (const contact of watches.contacts()) {
      const gone = watches.watchersOf(contact).filter((watcher) => !this.#maySee(watchers(watcher), contact));
      for (const watcher of gone) await this.#say(contact, watcher, "unsubscribed");
      if (gone.length > 0) await watches.remove(contact, gone);
    }
  }

  async takePresence({ from, to, type }: IncomingStanza): Promise<void> {
    const contact = contactAt(to, this.#context.domain);
    const watcher = bareAddress(from);
    if (contact === undefined || !SUBSCRIPTION_TYPES.has(type)) return;
    const { watches, board } = this.#parts;
    if (type === "unsubscribe") {
      if (!watches.has(contact, watcher)) return;
      await watches.remove(contact, [watcher]);
      await this.#say(contact, watcher, "unavailable");
      return;
    }
    const actor = this.#parts.watchers(from);
    if (actor === undefined) return this.#turnAway(contact, watcher);
    if (!this.#maySee(actor, contact)) return this.#say(contact, watcher, "unsubscribed");
    if (type === "subscribe") return this.#subscribe(contact, watcher);
    if (watches.has(contact, watcher)) return board.tell(contact, watcher);
    return this.#say(contact, watcher, "unsubscribed");
  }

  async #subscribe(contact: Contact, watcher: string): Promise<void> {
    const { watches, board } = this.#parts;
    if (!watches.has(contact, watcher)) {
      const stored = watches.hasRoomFor(watcher) && (await watches.add(contact, watcher)).kind === "committed";
      if (!stored) return this.#say(contact, watcher, "unsubscribed");
    }
    this.#context.count("user", "taken");
    await this.#say(contact, watcher, "subscribed");
    await board.tell(contact, watcher);
  }

  /** Existence is told only to those who may see it. */
  #maySee(actor: Actor | undefined, contact: Contact): boolean {
    const { loop } = this.#context;
    if (actor === undefined || presenceOf(contact, loop.views, loop.nowMs()) === undefined) return false;
    if (contact.kind !== "vm") return true;
    const vm = loop.views.vm(contact.id);
    return vm !== undefined && vm !== "ambiguous" && sees(actor, vm.project);
  }

  async #turnAway(contact: Contact, watcher: string): Promise<void> {
    this.#context.count("stranger", "refused");
    if (!this.#strangers.isDue(watcher)) return;
    this.#context.log.info({ from: watcher }, "a stranger asked for presence; add it to `watchers` to let it in");
    await this.#say(contact, watcher, "unsubscribed");
  }

  async #say(contact: Contact, to: string, type: string): Promise<void> {
    const from = contactAddress(contact, this.#context.domain);
    await this.#context.bus.send(new Element("presence", { from, to, type }));
  }

  /** A readable name for rosters (XEP-0054). */
  async #vCard({ from, to }: IncomingIq): Promise<IqAnswer> {
    const contact = contactAt(to, this.#context.domain);
    const actor = this.#parts.watchers(from);
    if (actor === undefined)
      return refuseIq(refusal("forbidden", "not-a-watcher", "ask the admin of this site to let you in"));
    if (contact === undefined || !this.#maySee(actor, contact))
      return refuseIq(refusal("item-not-found", "unknown-contact", "there is no such contact here"));
    const shown = await this.#context.loop.read((views, nowMs) => presenceOf(contact, views, nowMs));
    const payload = new Element("vCard", { xmlns: NS_VCARD });
    payload.c("FN").t(shown?.nick ?? "gone");
    payload.c("NICKNAME").t(shown?.nick ?? "gone");
    return { kind: "result", payload };
  }
}

const SUBSCRIPTION_TYPES = new Set(["subscribe", "unsubscribe", "probe"]);
