/** A site: a store, managers over it, hosts, and an XMPP server through which everything passes. */
import type { SiteKey } from "@muster/broker";
import { HostNode } from "./host-node.ts";
import type { Lead } from "./lead.ts";
import { ManagerNode } from "./manager-node.ts";
import { peerRecords } from "./policy.ts";
import { siteKeys } from "./site-keys.ts";
import { SiteStore } from "./site-store.ts";
import type { World } from "./world.ts";

/** How often a waiting manager looks whether somebody leads, and how long silence has to last. */
const WATCH_MS = 100;
const MISSED_BEATS = 4;

export class Site {
  readonly name: string;
  readonly index: number;
  readonly domain: string;
  readonly peers: readonly string[];
  readonly store = new SiteStore();
  readonly managers: ManagerNode[];
  readonly hosts = new Map<string, HostNode>();
  readonly rate: number;
  /** What its key file has; none in runs without deals. */
  readonly keys: readonly SiteKey[];
  /** Who has the site's address: what is sent to it arrives there. */
  bound: Lead | undefined;
  serverAway = false;
  /** Until when the store is in trouble, and of which kind. */
  trouble: { readonly kind: "failed" | "unknown" | "slow"; readonly untilMs: number } | undefined;
  /** Until when no manager of the site comes back. */
  goneUntilMs = 0;
  #offsetMs: number;
  #silentBeats = 0;
  #stale: [string, unknown][] = [];
  readonly #world: World;

  constructor(world: World, index: number, peers: readonly string[]) {
    const { swarm, rng } = world;
    this.#world = world;
    this.index = index;
    this.name = SITE_NAMES[index] ?? `s${index}`;
    this.domain = domainOf(index);
    this.peers = peers;
    this.rate = 1 + (rng.next() * 2 - 1) * swarm.drift;
    this.#offsetMs = 1_700_000_000_000 + (swarm.skewMs === 0 ? 0 : rng.int(2 * swarm.skewMs) - swarm.skewMs);
    this.keys = swarm.deals ? siteKeys(this.domain) : [];
    if (swarm.deals)
      for (const record of peerRecords(this.domain, peers)) this.store.records.set(`peer/${record.domain}`, record);
    this.managers = Array.from(
      { length: swarm.managersPerSite },
      (_, at) => new ManagerNode(world, this, `cm${at + 1}`),
    );
    for (const [at, vcpus] of (swarm.hosts[index] ?? []).entries()) {
      const host = new HostNode(world, this, `h${at + 1}`, vcpus);
      this.hosts.set(host.name, host);
      const record = { name: host.name, enrolledAtMs: 0, draining: false, fenced: false };
      this.store.records.set(`host/${host.name}`, record);
    }
  }

  /** The wall clock of a machine of this site now, less the time of its own clock. */
  wallOffsetMs(): number {
    const { jumpMs } = this.#world.swarm;
    return this.#offsetMs + (jumpMs === 0 ? 0 : this.#world.rng.int(jumpMs));
  }

  begin(): void {
    this.#stale = this.store.read();
    for (const host of this.hosts.values()) host.start();
    this.managers[0]?.takeLead();
    this.#watch();
  }

  bind(lead: Lead): void {
    const before = this.bound;
    this.bound = lead;
    this.#silentBeats = 0;
    // Whoever had the address loses its link, and mostly notices; a hung one does when it goes on.
    if (before === undefined || before === lead || this.#world.rng.int(3) === 0) return;
    this.#world.timeline.after(this.#world.rng.int(100), () =>
      before.manager.enter(() => {
        if (before.manager.lead === before) before.manager.stepDown();
      }),
    );
  }

  /** From an account of the site, or from its server, to whoever leads. */
  toLeader(from: string, deliver: (lead: Lead) => void): void {
    this.#world.network.send(from, this.domain, () => {
      const { bound } = this;
      if (!this.serverAway && bound !== undefined && bound.manager.up && !bound.over) deliver(bound);
    });
  }

  fromLeader(to: string, deliver: () => void): void {
    this.#world.network.send(this.domain, to, () => {
      if (!this.serverAway) deliver();
    });
  }

  toPeer(domain: string, deliver: (lead: Lead) => void): void {
    const other = this.#world.siteOf(domain);
    if (other === undefined || this.serverAway) return;
    other.toLeader(this.domain, deliver);
  }

  storeTrouble(): "failed" | "unknown" | "slow" | undefined {
    if (this.trouble !== undefined && this.trouble.untilMs <= this.#world.timeline.nowMs) this.trouble = undefined;
    return this.trouble !== undefined && this.#world.rng.int(2) === 0 ? this.trouble.kind : undefined;
  }

  setServer(away: boolean): void {
    if (this.serverAway === away) return;
    this.serverAway = away;
    for (const host of this.hosts.values()) host.linkChanged(!away);
    this.bound?.post({ kind: "link", online: !away });
  }

  /** What somebody read a while ago and takes for the truth. */
  staleRecords(): [string, unknown][] {
    return this.#stale;
  }

  #watch(): void {
    const { bound } = this;
    const leads = bound?.manager.up === true && !bound.over && !bound.manager.paused;
    this.#silentBeats = leads ? 0 : this.#silentBeats + 1;
    if (this.#world.ports.staleRead === true && this.#world.timeline.nowMs % 5_000 < WATCH_MS)
      this.#stale = this.store.read();
    const waiting = this.managers.filter(({ waits }) => waits);
    const candidate = waiting[this.#world.rng.int(Math.max(1, waiting.length))];
    const taking = this.managers.some((manager) => manager.taking && !manager.paused);
    if (this.#silentBeats >= MISSED_BEATS && candidate !== undefined && !taking) candidate.takeLead();
    this.#world.timeline.after(WATCH_MS, () => this.#watch());
  }
}

const SITE_NAMES = ["alpha", "beta", "gamma", "delta"];

export function domainOf(index: number): string {
  return `${SITE_NAMES[index] ?? `s${index}`}.test`;
}
