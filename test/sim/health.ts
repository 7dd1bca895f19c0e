/** Since when a host can act at all, and since when the way from a site's leader to each of its hosts, and through it to its hypervisor, works as a whole. */
import type { HostNode } from "./host-node.ts";
import type { Site } from "./site.ts";
import type { World } from "./world.ts";

export class Health {
  readonly #sinceMs = new Map<string, number>();
  readonly #ableSinceMs = new Map<HostNode, number>();
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** To be called every second: what was broken in between and is well again counts as well, its leader's change not. */
  look(): void {
    for (const site of this.#world.sites) {
      this.#note(site.domain, isLed(site), site);
      for (const host of site.hosts.values()) {
        this.#note(host.address, isLed(site) && this.#isWell(host), site);
        if (!isAble(host)) this.#ableSinceMs.delete(host);
        else if (!this.#ableSinceMs.has(host)) this.#ableSinceMs.set(host, this.#world.timeline.nowMs);
      }
    }
  }

  /** For how long the site has been led, or the host been reachable, without a break that was seen. */
  wellForMs(who: Site | HostNode): number {
    const since = this.#sinceMs.get("domain" in who ? who.domain : who.address);
    return since === undefined ? 0 : this.#world.timeline.nowMs - since;
  }

  /** For how long the host could have ended a VM, whoever leads: its process runs, and its hypervisor answers. */
  ableForMs(host: HostNode): number {
    const since = this.#ableSinceMs.get(host);
    if (since === undefined || !isAble(host)) return 0;
    return this.#world.timeline.nowMs - Math.max(since, host.startedAtMs);
  }

  #note(key: string, well: boolean, site: Site): void {
    const led = site.bound?.startedAtMs ?? 0;
    if (!well) this.#sinceMs.delete(key);
    else this.#sinceMs.set(key, Math.max(this.#sinceMs.get(key) ?? this.#world.timeline.nowMs, led));
  }

  #isWell(host: HostNode): boolean {
    const { network } = this.#world;
    const { domain } = host.site;
    if (!isAble(host)) return false;
    return !network.isCut(host.address, domain) && !network.isCut(domain, host.address);
  }
}

function isAble(host: HostNode): boolean {
  return host.up && !host.paused && !host.machine.hung && !host.machine.away;
}

function isLed(site: Site): boolean {
  const lead = site.bound;
  if (lead === undefined || lead.over || lead.term !== site.store.term) return false;
  return lead.manager.up && !lead.manager.paused && !site.serverAway && site.trouble === undefined;
}
