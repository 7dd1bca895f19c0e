import type { Clock } from "@muster/base";
import { Element, parse } from "ltx";
import { type Address, parseAddress } from "./address.ts";
import type { Link, LinkListener } from "./link.ts";
import { MemoryLink } from "./memory-link.ts";
import { addressMatches, addressText, type MemoryPaths } from "./memory-paths.ts";
import { encodeStanzaFault, type StanzaFault, stanzaFault } from "./stanza-fault.ts";

export type ServerState = "up" | "down" | "hung";

export type MemoryServersOptions = {
  readonly clock: Clock;
  readonly paths: MemoryPaths;
  readonly connectMs: number;
  readonly componentConflict: "kick-old" | "kick-new";
};

type Endpoint = { readonly kind: "client" | "component"; readonly address: Address };

/** Accounts, components and the routing rules of RFC 6120 section 10 and RFC 6121 section 8, as far as managers see them. */
export class MemoryServers {
  readonly #options: MemoryServersOptions;
  readonly #servers = new Set<string>();
  readonly #components = new Set<string>();
  readonly #states = new Map<string, ServerState>();
  /** Sessions as the servers know them, by full address or component domain. */
  readonly #sessions = new Map<string, MemoryLink>();

  constructor(options: MemoryServersOptions) {
    this.#options = options;
  }

  addServer(domain: string): void {
    this.#servers.add(domain);
  }

  addComponent(domain: string): void {
    this.#components.add(domain);
  }

  open(endpoint: Endpoint, listener: LinkListener): Link {
    const link = new MemoryLink(endpoint.kind, endpoint.address, listener, {
      route: (xml) => this.#route(link, xml),
      gone: () => this.#end(link),
    });
    this.#options.clock.setTimer(this.#options.connectMs, () => this.#admit(link));
    return link;
  }

  setServer(domain: string, state: ServerState): void {
    this.#states.set(domain, state);
    const links = [...this.#sessions.values()].filter((link) => addressMatches(link.address, domain));
    for (const link of links) {
      if (state === "down") this.#kill(link, "the server went away");
      if (state === "hung") link.freeze();
      if (state === "up") link.thaw();
    }
  }

  cut(matches: (address: Address) => boolean): void {
    for (const link of this.#matching(matches)) this.#kill(link, "connection reset");
  }

  freeze(matches: (address: Address) => boolean): void {
    for (const link of this.#matching(matches)) link.freeze();
  }

  thaw(matches: (address: Address) => boolean): void {
    for (const link of this.#matching(matches)) link.thaw();
  }

  #matching(matches: (address: Address) => boolean): MemoryLink[] {
    return [...this.#sessions.values()].filter((link) => matches(link.address));
  }

  #stateOf(address: Address): ServerState {
    for (const [domain, state] of this.#states) if (addressMatches(address, domain)) return state;
    return "up";
  }

  #admit(link: MemoryLink): void {
    if (link.over) return;
    const state = this.#stateOf(link.address);
    if (state === "hung") return;
    if (state === "down") {
      link.end({ kind: "lost", reason: "connection refused" });
      return;
    }
    const old = this.#sessions.get(link.key);
    const conflict = { kind: "refused", reason: "conflict", text: "another link has this address" } as const;
    if (old !== undefined && link.kind === "component" && this.#options.componentConflict === "kick-new") {
      link.end(conflict);
      return;
    }
    if (old !== undefined) {
      this.#end(old);
      old.end(conflict);
    }
    this.#sessions.set(link.key, link);
    link.admit();
  }

  #kill(link: MemoryLink, reason: string): void {
    this.#end(link);
    link.end({ kind: "lost", reason });
  }

  /** The server's part of an ending: whom the client showed itself to, hears that it is gone (RFC 6121 section 4.6.3). */
  #end(link: MemoryLink): void {
    if (this.#sessions.get(link.key) !== link) return;
    this.#sessions.delete(link.key);
    for (const to of link.shownTo) {
      const unavailable = new Element("presence", { type: "unavailable", from: link.key, to });
      this.#carry(link.address, unavailable);
    }
    link.shownTo.clear();
  }

  #route(link: MemoryLink, xml: string): void {
    const stanza = parse(xml);
    const claimed = parseAddress(stanza.attrs.from ?? "");
    if (link.kind === "client") {
      stanza.attrs.from = link.key;
    } else if (claimed?.domain !== link.address.domain || stanza.attrs.to === undefined) {
      // A component that forges its address, or leaves one out, loses its stream (XEP-0114 section 3).
      this.#kill(link, "invalid-from");
      return;
    }
    const from = parseAddress(stanza.attrs.from ?? "") ?? link.address;
    if (link.kind === "client") {
      if (stanza.name === "presence" && !this.#notePresence(link, stanza)) return;
      stanza.attrs.to ??= addressText({ ...link.address, resource: "" });
    }
    this.#carry(from, stanza);
  }

  /** `false` where the presence is for the server itself: availability. */
  #notePresence(link: MemoryLink, stanza: Element): boolean {
    const { to, type } = stanza.attrs;
    if (to !== undefined) {
      if (type === undefined) link.show(to);
      if (type === "unavailable") link.shownTo.delete(to);
      return true;
    }
    link.available = type === undefined;
    if (type === "unavailable") {
      for (const shown of link.shownTo) {
        this.#carry(link.address, new Element("presence", { ...stanza.attrs, from: link.key, to: shown }));
      }
      link.shownTo.clear();
    }
    return false;
  }

  #carry(from: Address, stanza: Element): void {
    const to = parseAddress(stanza.attrs.to ?? "");
    if (to === undefined) {
      this.#bounce(stanza, from, stanzaFault("jid-malformed"), "here");
      return;
    }
    const passage = this.#options.paths.blocked(from, to);
    if (passage === "silent") return;
    if (passage === "bounce") {
      this.#bounce(stanza, from, stanzaFault("remote-server-timeout"), "here");
      return;
    }
    this.#pass(from, to, stanza);
  }

  #pass(from: Address, to: Address, stanza: Element): void {
    const xml = stanza.toString();
    const wasThere = this.#sessions.has(addressText(to));
    const target = this.#components.has(to.domain) ? to.domain : addressText(to);
    this.#options.paths.carry(`${addressText(from)} ${target}`, () => this.#deliver(from, to, parse(xml), wasThere));
  }

  #deliver(from: Address, to: Address, stanza: Element, wasThere: boolean): void {
    const state = this.#stateOf(to);
    if (state === "hung") return;
    if (state === "down") {
      this.#bounce(stanza, from, stanzaFault("remote-server-not-found"), "here");
      return;
    }
    if (this.#components.has(to.domain)) {
      const link = this.#sessions.get(to.domain);
      link === undefined ? this.#bounce(stanza, from, stanzaFault("remote-server-timeout")) : link.deliver(stanza);
      return;
    }
    if (!this.#servers.has(to.domain)) {
      this.#bounce(stanza, from, stanzaFault("remote-server-not-found"), "here");
      return;
    }
    if (to.resource !== "") {
      const link = this.#sessions.get(addressText(to));
      if (link !== undefined) {
        link.deliver(stanza);
        return;
      }
      // What was on its way to a session that ended comes back differently from what never had a session.
      this.#bounce(stanza, from, stanzaFault(wasThere ? "recipient-unavailable" : "service-unavailable"));
      return;
    }
    this.#deliverBare(from, to, stanza);
  }

  /** To an account, or to the server itself: IQs are the server's to answer, the rest goes to who is available. */
  #deliverBare(from: Address, to: Address, stanza: Element): void {
    if (stanza.name === "iq") {
      if (stanza.attrs.type === "get" && stanza.getChild("ping", "urn:xmpp:ping") !== undefined) {
        this.#answer(stanza, from, new Element("iq", { type: "result" }));
        return;
      }
      this.#bounce(stanza, from, stanzaFault("service-unavailable"));
      return;
    }
    const account = addressText(to);
    const links = this.#matching((address) => addressMatches(address, account) && to.local !== "");
    const available = links.filter((link) => link.available);
    if (available.length === 0) {
      this.#bounce(stanza, from, stanzaFault("service-unavailable"));
      return;
    }
    for (const link of available) link.deliver(parse(stanza.toString()));
  }

  /**
   * Errors and presences are never answered with an error, nor are answers (RFC 6120 section 8.3.1). `here`: it is the
   * asker's own server that gives up, so the bounce has no way to go that could be cut.
   */
  #bounce(stanza: Element, from: Address, fault: StanzaFault, where: "here" | "there" = "there"): void {
    const { type } = stanza.attrs;
    if (stanza.name === "presence" || type === "error" || (stanza.name === "iq" && type === "result")) return;
    const bounced = new Element(stanza.name, { type: "error" });
    bounced.append(encodeStanzaFault(fault));
    this.#answer(stanza, from, bounced, where);
  }

  #answer(stanza: Element, asker: Address, answer: Element, where: "here" | "there" = "there"): void {
    answer.attrs.from = stanza.attrs.to ?? "";
    answer.attrs.to = addressText(asker);
    if (stanza.attrs.id !== undefined) answer.attrs.id = stanza.attrs.id;
    const answerer = parseAddress(answer.attrs.from) ?? { ...asker, local: "", resource: "" };
    if (where === "there") this.#carry(answerer, answer);
    else this.#pass(answerer, asker, answer);
  }
}
