import type { Rng } from "@muster/base";
import {
  type ConsoleOrder,
  cloudAddress,
  NS_BURST,
  NS_CAPACITY,
  NS_HELLO,
  NS_INVENTORY,
  NS_NOTICE,
  NS_PEERING,
  NS_SITE,
  type SerialLogQuery,
  siteOfCloud,
} from "@muster/protocol";
import { adHocDisco, bareAddress, type DiscoPart, serve, serveAdHoc, serveChat, Words } from "@muster/xmpp";
import type { CoreEffect } from "../core/effect.ts";
import { ConfirmCodes } from "./confirm-code.ts";
import { type Contact, contactAddress, contactAt, presenceOf } from "./contact.ts";
import { enrolHost, enrolPartner, revokeHost } from "./enrolment.ts";
import type { FaceContext } from "./face-context.ts";
import { HostDoor } from "./host-door.ts";
import { type MakeLogin, PeerBus } from "./peer-bus.ts";
import { PeerDoor, type PeerDoorOptions } from "./peer-door.ts";
import { PeerPresence } from "./peer-presence.ts";
import { PeerWatch } from "./peer-watch.ts";
import { PeeringDoor } from "./peering-door.ts";
import { PresenceBoard } from "./presence-board.ts";
import { Roster } from "./roster.ts";
import { ServerDoor } from "./server-door.ts";
import { siteWords } from "./site-words.ts";
import { WatchList } from "./watch-list.ts";
import type { Watchers } from "./watchers.ts";

export type XmppFaceOptions = {
  readonly context: FaceContext;
  readonly rng: Rng;
  readonly term: number;
  readonly manager: string;
  readonly version: string;
  readonly watchers: Watchers;
  readonly peers: Omit<PeerDoorOptions, "context" | "watch">;
  /** Logs in at a peer that is reached through a client account; without it no such peer is reached. */
  readonly makeLogin?: MakeLogin | undefined;
  readonly newId: () => string;
  /** Stored subscriptions, as read at the start. */
  readonly watches: Iterable<readonly [string, unknown]>;
};

/** Effects that leave over XMPP. */
export type FaceEffect = Extract<
  CoreEffect,
  {
    readonly kind:
      | "command"
      | "move"
      | "tunnel"
      | "hello"
      | "underlay"
      | "fetch-inventory"
      | "forget-host"
      | "peer-send"
      | "peering-send"
      | "peers-changed"
      | "peer-notify"
      | "contact-changed";
  }
>;

/** Hosts and VMs shown below the site in service discovery; the command line shows all. */
const ITEMS_MAX = 100;

/** The site as XMPP sees it: `cloud.<domain>` with its hosts, VMs, peers, watchers and words. */
export class XmppFace {
  readonly #context: FaceContext;
  readonly #hosts: HostDoor;
  readonly #peerBus: PeerBus;
  readonly #peers: PeerDoor;
  readonly #peerings: PeeringDoor;
  readonly #peerPresence: PeerPresence;
  readonly #server: ServerDoor;
  readonly #board: PresenceBoard;
  readonly #roster: Roster;
  readonly #options: XmppFaceOptions;

  constructor(options: XmppFaceOptions) {
    const { context } = options;
    this.#options = options;
    this.#context = context;
    const watches = new WatchList((changes) => context.loop.keep(changes));
    const unreadable = watches.load(options.watches);
    if (unreadable.length > 0)
      context.log.warn({ keys: unreadable.slice(0, 20) }, "stored subscriptions cannot be read");
    this.#hosts = new HostDoor(context, { ...options, opening: options.newId() });
    const watch = new PeerWatch(context.clock, (event) => context.loop.post(event));
    this.#peerBus = new PeerBus(context, options.makeLogin, options.rng, () => this.#peerPresence.again());
    const amongPeers = { ...context, bus: this.#peerBus };
    this.#peers = new PeerDoor({ context: amongPeers, watch, ...options.peers });
    this.#peerPresence = new PeerPresence(amongPeers, watch);
    this.#server = new ServerDoor(context, options.rng);
    this.#peerings = new PeeringDoor(amongPeers, options.peers.seal, this.#server);
    this.#board = new PresenceBoard(context, watches, (host) => this.#hosts.capacityOf(host));
    this.#roster = new Roster(context, { watchers: options.watchers, watches, board: this.#board });
  }

  /** Sets the handlers; the Bus may be started afterwards. */
  start(): void {
    const { bus, log } = this.#context;
    this.#hosts.start();
    this.#peerBus.start();
    this.#peers.start();
    this.#peerings.start();
    this.#peerPresence.start();
    this.#server.start();
    this.#roster.start();
    this.#board.start();
    bus.onPresence((presence) => {
      if (this.#hosts.takePresence(presence)) return;
      const ofPeer = this.#peerBus.ofPeer(presence);
      if (ofPeer === undefined || this.#peerPresence.takePresence(ofPeer)) return;
      this.#roster
        .takePresence(presence)
        .catch((error: unknown) => log.error({ error: String(error) }, "a presence met a fault"));
    });
    this.#peerBus.onPresence((presence) => this.#peerPresence.takePresence(presence));
    bus.onStatus((status) => {
      if (status.kind === "online") this.#board.announceAll();
    });
    this.#serveWords();
  }

  /** Begins what must wait until the loop runs: subscriptions of those who lost their permission end. */
  async online(): Promise<void> {
    await this.#roster.dropForbidden();
  }

  carry(effect: FaceEffect): void {
    const fail = (error: unknown): void =>
      this.#context.log.error({ effect: effect.kind, error: String(error) }, "an effect met a fault");
    switch (effect.kind) {
      case "command":
        this.#hosts.command(effect.host, effect.command).catch(fail);
        return;
      case "tunnel":
        void this.#hosts.tunnel(effect);
        return;
      case "move":
        this.#hosts.move(effect.host, effect.move, effect.timeoutMs).catch(fail);
        return;
      case "hello":
        this.#hosts.hello(effect.host, effect.underlay).catch(fail);
        return;
      case "underlay":
        this.#hosts.underlay(effect.host, effect.list).catch(fail);
        return;
      case "fetch-inventory":
        this.#hosts.fetchInventory(effect.host, effect.subjects).catch(fail);
        return;
      case "forget-host":
        this.#hosts.forget(effect.host);
        this.#board.changed({ kind: "host", id: effect.host });
        revokeHost(this.#context, effect.host).catch(fail);
        return;
      case "peer-send":
        this.#peers.send(effect).catch(fail);
        return;
      case "peering-send":
        this.#peerings.send(effect).catch(fail);
        return;
      case "peers-changed":
        this.#server.changed();
        this.#peerBus.changed();
        this.#peerPresence.changed();
        return;
      case "peer-notify":
        this.#peers.notify(effect.peer, effect.states).catch(fail);
        return;
      case "contact-changed":
        this.#changed(effect.contact);
    }
  }

  console(host: string, order: ConsoleOrder): ReturnType<HostDoor["console"]> {
    return this.#hosts.console(host, order);
  }

  readLog(host: string, query: SerialLogQuery): ReturnType<HostDoor["readLog"]> {
    return this.#hosts.readLog(host, query);
  }

  /** A token for the account of our server as which a peer is to come. */
  partnerToken(account: string, ttlSeconds: number): ReturnType<typeof enrolPartner> {
    return enrolPartner(this.#context, account, ttlSeconds);
  }

  enrolmentOf(host: string, ttlSeconds: number): ReturnType<typeof enrolHost> {
    return enrolHost(this.#context, host, ttlSeconds);
  }

  /** Stops; `goodbye` tells all watchers that nobody speaks for the site any more. */
  async stop(how: "goodbye" | "silent"): Promise<void> {
    this.#server.stop();
    this.#peers.stop();
    await this.#peerBus.stop();
    await this.#peerPresence.stop(how);
    await this.#board.stop(how);
  }

  /** A host or VM that changes may change what the site has free, too. */
  #changed(contact: Contact): void {
    this.#board.changed(contact);
    this.#peerPresence.changed();
    if (contact.kind !== "site") this.#board.changed({ kind: "site" });
  }

  #serveWords(): void {
    const { bus, clock, log, domain } = this.#context;
    const { watchers, rng, newId, version } = this.#options;
    const address = cloudAddress(domain);
    const codes = new ConfirmCodes(clock, rng.bytes(32));
    const words: Words = new Words(
      siteWords({ context: this.#context, watchers, codes, newId, words: () => words }),
      (where, error) => log.error({ where, error: String(error) }, "a word met a fault"),
    );
    serveAdHoc(bus, { words, address });
    serveChat(bus, { words, address, clock });
    serve(bus, {
      ping: true,
      version: { name: "Muster", version },
      disco: {
        identities: [{ category: "component", type: "generic", name: `Muster site ${domain}` }],
        features: [NS_CAPACITY, NS_HELLO, NS_INVENTORY, NS_NOTICE, NS_BURST, NS_PEERING, NS_SITE, "vcard-temp"],
        parts: [adHocDisco({ words, address }), this.#contactsDisco()],
      },
    });
  }

  /** Contacts below the site, for those who may watch; peers and strangers see none. */
  #contactsDisco(): DiscoPart {
    const { loop, domain } = this.#context;
    return {
      info: ({ to, from, node }) => {
        const contact = contactAt(to, domain);
        if (node !== undefined || contact === undefined || contact.kind === "site") return undefined;
        const shown = this.#isWatcher(from) ? presenceOf(contact, loop.views, loop.nowMs()) : undefined;
        return {
          identities: [{ category: "client", type: "bot", name: shown?.nick ?? "contact" }],
          features: ["vcard-temp"],
        };
      },
      items: ({ to, from, node }) => {
        if (node !== undefined || bareAddress(to) !== cloudAddress(domain) || !this.#isWatcher(from)) return undefined;
        const hosts = loop.views.hosts(loop.nowMs()).slice(0, ITEMS_MAX);
        const vms = loop.views
          .vms()
          .filter(({ phase }) => phase === "running")
          .slice(0, ITEMS_MAX);
        return [
          ...hosts.map(({ name }) => itemOf({ kind: "host", id: name }, `Host ${name}`, domain)),
          ...vms.map(({ id, name }) => itemOf({ kind: "vm", id }, `VM ${name}`, domain)),
        ];
      },
    };
  }

  #isWatcher(from: string): boolean {
    return this.#options.watchers(from) !== undefined && siteOfCloud(from) === undefined;
  }
}

function itemOf(contact: Contact, name: string, domain: string): { readonly address: string; readonly name: string } {
  return { address: contactAddress(contact, domain), name };
}
