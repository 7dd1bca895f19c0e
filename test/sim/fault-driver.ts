/** Breaks things, one after the other, and mends them again. An admin who only vouches for what is true is part of it. */
import type { Rng } from "@muster/base";
import type { BurstRequest } from "@muster/broker";
import type { Actor, CoreEvent } from "@muster/cluster-manager";
import { countFault } from "./figures.ts";
import type { HostNode } from "./host-node.ts";
import type { Site } from "./site.ts";
import type { FaultKind } from "./swarm.ts";
import type { World } from "./world.ts";

const ADMIN: Actor = { user: "root", role: "admin", projects: ["*"] };
/** Longest pause of a manager: with the longest delay it stays below what a question may take on its way. */
const PAUSE_MAX_MS = 8_000;
const HOST_AWAY_MAX_MS = 20_000;
const ADMIN_EVERY_MS = 3_000;
/** How long such a word can be on its way: a pause, and a slow commit. */
const VOUCH_MS = PAUSE_MAX_MS + 2_000;

export class FaultDriver {
  /** Until when a host stays off because an admin vouches that it is dead. */
  readonly #vouchedUntilMs = new Map<string, number>();
  readonly #world: World;
  readonly #rng: Rng;

  constructor(world: World, rng: Rng) {
    this.#world = world;
    this.#rng = rng;
  }

  begin(): void {
    if (this.#world.swarm.faults.length > 0) this.#next();
    if (this.#world.swarm.managersGone) this.#later(2_000 + this.#rng.int(15_000), () => this.#removeManagers());
    this.#administer();
  }

  /** Everything is mended: what is down comes back, nothing is cut. */
  heal(): void {
    for (const site of this.#world.sites) {
      site.trouble = undefined;
      site.goneUntilMs = 0;
      site.setServer(false);
      for (const manager of site.managers) {
        manager.wake();
        manager.start();
      }
      for (const host of site.hosts.values()) {
        this.powerOn(host);
        if (host.machine.hung) host.machine.goOn();
        if (host.machine.away) host.hypervisorAway(false);
        host.wake();
        host.start();
      }
    }
  }

  #next(): void {
    const { swarm, timeline } = this.#world;
    timeline.after(1 + this.#rng.int(2 * swarm.faultEveryMs), () => {
      if (this.#world.healed) return;
      const kind = swarm.faults[this.#rng.int(swarm.faults.length)];
      const site = this.#world.sites[this.#rng.int(this.#world.sites.length)];
      if (kind !== undefined && site !== undefined) this.#strike(kind, site);
      this.#next();
    });
  }

  #strike(kind: FaultKind, site: Site): void {
    const hosts = [...site.hosts.values()];
    const host = hosts[this.#rng.int(hosts.length)];
    if (host === undefined) return;
    this.#world.figures.faults += 1;
    countFault(this.#world.figures, kind);
    this.#world.note(site.name, () => `fault: ${kind} (${host.name})`);
    if (!this.#strikeSite(kind, site)) this.#strikeHost(kind, host);
  }

  /** Whether it was a fault of a site. */
  #strikeSite(kind: FaultKind, site: Site): boolean {
    const leader = site.bound?.manager;
    switch (kind) {
      case "manager-crash":
        (this.#rng.int(3) > 0 ? leader : site.managers[this.#rng.int(site.managers.length)])?.crashAndReturn();
        return true;
      case "manager-pause": {
        if (leader === undefined || !leader.up || leader.paused) return true;
        leader.paused = true;
        this.#later(this.#rng.int(PAUSE_MAX_MS), () => leader.wake());
        return true;
      }
      case "needless-takeover":
        site.managers.find(({ waits }) => waits)?.takeLead();
        return true;
      case "site-cut-off":
        this.#cutOff(site);
        return true;
      case "server-outage":
        site.setServer(true);
        this.#later(500 + this.#rng.int(12_000), () => site.setServer(false));
        return true;
      case "store-trouble": {
        const kinds = ["failed", "unknown", "slow"] as const;
        const durationMs = this.#rng.int(5_000);
        const trouble = kinds[this.#rng.int(kinds.length)] ?? "failed";
        site.trouble = { kind: trouble, untilMs: this.#world.timeline.nowMs + durationMs };
        return true;
      }
      case "clock-jump":
        // Wall clocks are read at the start of a process: the jump shows with the next one.
        leader?.crashAndReturn();
        return true;
      case "rogue-peer":
        this.#rogue(site);
        return true;
      default:
        return false;
    }
  }

  #strikeHost(kind: FaultKind, host: HostNode): void {
    const { machine, site } = host;
    switch (kind) {
      case "host-crash":
        host.crash();
        this.#later(100 + this.#rng.int(HOST_AWAY_MAX_MS), () => host.start());
        return;
      case "host-pause":
        if (!host.up || host.paused) return;
        host.paused = true;
        this.#later(this.#rng.int(HOST_AWAY_MAX_MS), () => host.wake());
        return;
      case "host-power-loss":
        host.powerLoss();
        this.#later(1_000 + this.#rng.int(2 * HOST_AWAY_MAX_MS), () => this.powerOn(host));
        return;
      case "hypervisor-hung":
        machine.hang();
        this.#later(this.#rng.int(10_000), () => machine.goOn());
        return;
      case "hypervisor-down":
        host.hypervisorAway(true);
        this.#later(this.#rng.int(10_000), () => host.hypervisorAway(false));
        return;
      case "guest-stops": {
        const guests = [...machine.domains].filter(([, { plan, state }]) => plan !== undefined && state === "running");
        const guest = guests[this.#rng.int(Math.max(1, guests.length))];
        if (guest !== undefined) machine.stopGuest(guest[0]);
        return;
      }
      case "host-cut-off": {
        const durationMs = this.#rng.int(HOST_AWAY_MAX_MS);
        const ways = this.#rng.int(3);
        if (ways !== 1) this.#world.network.cut(host.address, site.domain, durationMs);
        if (ways !== 0) this.#world.network.cut(site.domain, host.address, durationMs);
        return;
      }
      case "drain": {
        const { name } = host;
        this.#admin(site, (ticket) => ({ kind: "host-drain", ticket, actor: ADMIN, host: name, draining: true }));
        this.#later(this.#rng.int(15_000), () => this.#undrain(site, name));
        return;
      }
      default:
        return;
    }
  }

  #removeManagers(): void {
    const { sites, timeline, figures } = this.#world;
    const site = sites[this.#rng.int(sites.length)];
    if (site === undefined || this.#world.healed) return;
    figures.faults += 1;
    countFault(figures, "managers-gone");
    const awayMs = 40_000 + this.#rng.int(40_000);
    site.goneUntilMs = timeline.nowMs + awayMs;
    this.#world.note(site.name, () => `fault: no manager for ${awayMs} ms`);
    for (const manager of site.managers) {
      manager.crash();
      this.#later(awayMs, () => manager.start());
    }
  }

  /** Not before a word that vouches for its death has arrived or is lost for good. */
  powerOn(host: HostNode): void {
    const waitMs = (this.#vouchedUntilMs.get(host.address) ?? 0) - this.#world.timeline.nowMs;
    if (waitMs > 0) {
      this.#later(waitMs, () => this.powerOn(host));
      return;
    }
    host.powered = true;
    host.start();
  }

  #cutOff(site: Site): void {
    const { network, sites } = this.#world;
    const durationMs = this.#rng.int(25_000);
    const other = sites.find(({ domain }) => domain !== site.domain && (this.#rng.int(2) === 0 || sites.length === 2));
    if (other === undefined) return;
    const ways = this.#rng.int(3);
    if (ways !== 1) network.cut(site.domain, other.domain, durationMs);
    if (ways !== 0) network.cut(other.domain, site.domain, durationMs);
  }

  /** A peer, or somebody who is none, speaks of exchanges that are not its own (B5). */
  #rogue(site: Site): void {
    const keys = [...site.store.records.keys()].filter((key) => key.startsWith("lend/"));
    const key = keys[this.#rng.int(Math.max(1, keys.length))];
    const [, owner, id] = key?.split("/") ?? [];
    if (owner === undefined || id === undefined) return;
    const others = ["mallory.test", ...site.peers].filter((domain) => domain !== owner);
    const peer = others[this.#rng.int(others.length)];
    if (peer === undefined) return;
    const requests: readonly BurstRequest[] = [
      { kind: "release", body: { id, term: 1, reason: "none of its business" } },
      { kind: "renew", body: { term: 1, leases: [{ id, leaseMs: 60_000, wanted: "stopped" }] } },
      { kind: "lease", body: { id, term: 1, leaseMs: 60_000 } },
    ];
    const request = requests[this.#rng.int(requests.length)];
    if (request === undefined) return;
    site.bound?.ask(
      (ticket) => ({ kind: "peer-request", ticket, peer, request }),
      () => {},
    );
  }

  /** Looks after hosts that were without power for long: vouches that they are dead, and takes them back in later. */
  #administer(): void {
    for (const site of this.#world.sites)
      for (const host of site.hosts.values()) {
        const { name } = host;
        if (!host.powered && !this.#world.healed && this.#rng.int(3) === 0) {
          this.#vouchedUntilMs.set(host.address, this.#world.timeline.nowMs + VOUCH_MS);
          this.#admin(site, (ticket) => ({ kind: "host-fence", ticket, actor: ADMIN, host: name }));
        } else if (host.up && !host.paused && (this.#world.healed || this.#rng.int(4) === 0)) this.#undrain(site, name);
      }
    this.#world.timeline.after(ADMIN_EVERY_MS, () => this.#administer());
  }

  #undrain(site: Site, host: string): void {
    this.#admin(site, (ticket) => ({ kind: "host-drain", ticket, actor: ADMIN, host, draining: false }));
  }

  /** By a word to whoever leads; it is not repeated. */
  #admin(site: Site, event: (ticket: number) => CoreEvent): void {
    if (site.bound?.manager.paused === false) site.bound.ask(event, () => {});
  }

  #later(delayMs: number, act: () => void): void {
    this.#world.timeline.after(delayMs, act);
  }
}
