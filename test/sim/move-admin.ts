/** Admins who migrate VMs, change their minds, drain hosts by every policy, take them back, and balance sites. */
import type { Rng } from "@muster/base";
import type { Actor, CoreEvent } from "@muster/cluster-manager";
import { allIn } from "./core-words.ts";
import type { Site } from "./site.ts";
import type { World } from "./world.ts";

const ADMIN: Actor = { user: "root", role: "admin", projects: ["*"] };
const EVERY_MS = 1_500;
const POLICIES = ["keep", "migrate", "restart"] as const;

export class MoveAdmin {
  readonly #world: World;
  readonly #rng: Rng;

  constructor(world: World, rng: Rng) {
    this.#world = world;
    this.#rng = rng;
  }

  begin(): void {
    this.#world.timeline.after(this.#rng.int(2 * EVERY_MS), () => {
      if (this.#world.healed) return;
      const site = this.#world.sites[this.#rng.int(this.#world.sites.length)];
      if (site !== undefined) this.#act(site);
      this.begin();
    });
  }

  #act(site: Site): void {
    if (this.#world.swarm.movesBetween && this.#rng.int(2) === 0) {
      this.#between(site);
      return;
    }
    const roll = this.#rng.int(100);
    const hosts = [...site.hosts.keys()];
    const host = hosts[this.#rng.int(hosts.length)] ?? "";
    if (roll < 55) this.#migrate(site, host);
    else if (roll < 70) this.#cancel(site);
    else if (roll < 82) {
      const policy = POLICIES[this.#rng.int(POLICIES.length)] ?? "keep";
      this.#tell(site, (ticket) => ({ kind: "host-drain", ticket, actor: ADMIN, host, draining: true, policy }));
    } else if (roll < 92)
      this.#tell(site, (ticket) => ({ kind: "host-drain", ticket, actor: ADMIN, host, draining: false }));
    else this.#tell(site, (ticket) => ({ kind: "site-balance", ticket, actor: ADMIN, dryRun: false, movesMax: 3 }));
  }

  #migrate(site: Site, to: string): void {
    const running = [...allIn(site.store, "vm")].filter(
      ({ phase, place }) => phase === "running" && place.kind === "host",
    );
    const vm = running[this.#rng.int(Math.max(1, running.length))];
    const named = this.#rng.int(2) === 0 ? { to } : {};
    if (vm === undefined) return;
    this.#tell(site, (ticket) => ({
      kind: "vm-move",
      ticket,
      actor: ADMIN,
      vm: vm.id,
      wish: { kind: "begin", ...named },
    }));
  }

  /** Away to a peer what runs at home, home what runs at a peer. */
  #between(site: Site): void {
    const running = [...allIn(site.store, "vm")].filter(
      ({ phase, place, origin }) => phase === "running" && place.kind !== "none" && origin.kind === "local",
    );
    const vm = running[this.#rng.int(Math.max(1, running.length))];
    const peers = this.#world.sites.filter((other) => other !== site);
    const peer = peers[this.#rng.int(Math.max(1, peers.length))]?.domain;
    if (vm === undefined || peer === undefined) return;
    const wish =
      vm.place.kind === "peer" ? ({ kind: "begin", home: true } as const) : ({ kind: "begin", peer } as const);
    this.#tell(site, (ticket) => ({ kind: "vm-move", ticket, actor: ADMIN, vm: vm.id, wish }));
  }

  #cancel(site: Site): void {
    const moving = [...allIn(site.store, "vm")].filter(({ move }) => move !== undefined);
    const vm = moving[this.#rng.int(Math.max(1, moving.length))];
    if (vm !== undefined)
      this.#tell(site, (ticket) => ({ kind: "vm-move", ticket, actor: ADMIN, vm: vm.id, wish: { kind: "cancel" } }));
  }

  #tell(site: Site, event: (ticket: number) => CoreEvent): void {
    if (site.bound?.manager.paused === false) site.bound.ask(event, () => {});
  }
}
