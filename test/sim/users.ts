/** Users: they ask for VMs, say it again under the same id when they hear nothing, change their minds, and delete. */
import type { Rng } from "@muster/base";
import type { Actor, CoreEvent } from "@muster/cluster-manager";
import { type VmAction, type VmCreate, type VmOperation, vmCreateSchema } from "@muster/protocol";
import type { Answer } from "./core-words.ts";
import { IMAGE } from "./policy.ts";
import type { Site } from "./site.ts";
import type { World } from "./world.ts";

export const USER: Actor = { user: "ann", role: "user", projects: ["default"] };
const PATIENCE_MS = 1_500;
const ACTIONS: readonly VmAction[] = ["stop", "start", "suspend", "resume", "reboot"];

export type Wish = {
  readonly site: Site;
  readonly id: string;
  readonly create: VmCreate;
  vms: readonly string[] | undefined;
  refused: boolean;
};

export class Users {
  readonly wishes: Wish[] = [];
  readonly #world: World;
  readonly #rng: Rng;
  #operations = 0;

  constructor(world: World, rng: Rng) {
    this.#world = world;
    this.#rng = rng;
  }

  begin(): void {
    const { operations, activeMs, rush } = this.#world.swarm;
    for (let count = 0; count < operations; count += rush) {
      const atMs = this.#rng.int(activeMs);
      for (let one = 0; one < rush; one += 1) this.#world.timeline.after(atMs + this.#rng.int(20), () => this.#act());
    }
  }

  #act(): void {
    const roll = this.#rng.int(100);
    const accepted = this.wishes.filter(({ vms }) => vms !== undefined);
    const wish = accepted[this.#rng.int(Math.max(1, accepted.length))];
    if (wish === undefined || roll < 50) this.#wishForVms();
    else if (roll < 58) this.#submit(wish, wish.create);
    else if (roll < 61) this.#submit(wish, { ...wish.create, name: `${wish.create.name}x` });
    else if (roll < 80) this.#delete(wish);
    else if (this.#world.swarm.deals && roll < 94) this.#operate(wish);
    else this.#change(wish);
  }

  #wishForVms(): void {
    const world = this.#world;
    const site = world.sites[this.#rng.int(world.sites.length)];
    if (site === undefined) return;
    const number = this.wishes.length + 1;
    const { burstShare, leaseMs } = world.swarm;
    const bursts = this.#rng.next() < burstShare;
    const vcpus = 1 + this.#rng.int(3);
    const create = vmCreateSchema.parse({
      name: `vm-${number}`,
      count: this.#rng.int(4) === 0 ? 2 : 1,
      spec: { image: IMAGE, vcpus, memoryMiB: vcpus * 1_024, diskGiB: 5 * vcpus, ...this.#hostLoss() },
      priority: this.#rng.int(8) === 0 ? 8 : 5,
      burst: bursts ? (this.#rng.int(3) === 0 ? "only" : "allow") : "never",
      leaseMs,
      ...(this.#rng.int(10) === 0 ? { expiresAfterMs: 20_000 } : {}),
    });
    const wish: Wish = { site, id: `request-${number}`, create, vms: undefined, refused: false };
    this.wishes.push(wish);
    world.figures.requested += 1;
    this.#submit(wish, create);
  }

  #hostLoss(): { readonly onHostLoss?: "keep" } {
    return this.#world.swarm.moves && this.#rng.int(3) === 0 ? { onHostLoss: "keep" } : {};
  }

  /** Asks until an answer comes, under the same id (B1). */
  #submit(wish: Wish, create: VmCreate): void {
    const event = (ticket: number): CoreEvent => ({ kind: "request", ticket, actor: USER, requestId: wish.id, create });
    this.#askUntilAnswered(wish.site, event, (answer) => {
      this.#world.tell((checker) => checker.onUserAnswer?.(wish.site.domain, wish.id, create, answer));
      if (create !== wish.create) return;
      if (answer.kind === "refused" && wish.vms === undefined && !wish.refused) {
        wish.refused = true;
        this.#world.figures.refused += 1;
      }
      if (answer.kind !== "request" || wish.vms !== undefined) return;
      wish.vms = answer.vms;
      this.#world.figures.accepted += 1;
    });
  }

  #delete({ site, vms }: Wish): void {
    const vm = vms?.[this.#rng.int(vms.length)];
    if (vm === undefined) return;
    this.#world.figures.deleted += 1;
    this.#askUntilAnswered(
      site,
      (ticket) => ({ kind: "vm-delete", ticket, actor: USER, vm }),
      () => {},
    );
  }

  #change({ site, vms }: Wish): void {
    const vm = vms?.[this.#rng.int(vms.length)];
    const action = ACTIONS[this.#rng.int(ACTIONS.length)];
    if (vm === undefined || action === undefined) return;
    this.#askUntilAnswered(
      site,
      (ticket) => ({ kind: "vm-action", ticket, actor: USER, vm, action }),
      () => {},
    );
  }

  /** Asks once, under a key of its own, and again until it is answered (B1). */
  #operate({ site, vms }: Wish): void {
    const vm = vms?.[this.#rng.int(vms.length)];
    if (vm === undefined) return;
    this.#operations += 1;
    this.#world.figures.operationsAsked += 1;
    const key = `operation-${this.#operations}`;
    const operation = this.#operation();
    this.#askUntilAnswered(
      site,
      (ticket) => ({ kind: "vm-operation", ticket, actor: USER, vm, key, operation }),
      () => {},
    );
  }

  #operation(): VmOperation {
    const name = `part-${this.#rng.int(2)}`;
    const vcpus = 1 + this.#rng.int(4);
    const all: readonly VmOperation[] = [
      { kind: "save" },
      { kind: "create-snapshot", name },
      { kind: "revert-snapshot", name },
      { kind: "delete-snapshot", name },
      { kind: "create-volume", name, sizeGiB: 1 + this.#rng.int(5) },
      { kind: "attach-volume", name },
      { kind: "detach-volume", name },
      { kind: "delete-volume", name },
      { kind: "resize", vcpus, memoryMiB: vcpus * 1_024 },
    ];
    return all[this.#rng.int(all.length)] ?? { kind: "save" };
  }

  /** To one manager of the site after the other; *not leading*, *try later* and silence are no answers. */
  #askUntilAnswered(site: Site, event: (ticket: number) => CoreEvent, answered: (answer: Answer) => void): void {
    const { network, timeline } = this.#world;
    const user = `user@${site.domain}`;
    let ended = false;
    let tries = this.#rng.int(site.managers.length);
    const again = (): void => {
      if (ended) return;
      const manager = site.managers[tries % site.managers.length];
      tries += 1;
      timeline.after(PATIENCE_MS, again);
      if (manager === undefined) return;
      network.send(user, manager.address, () =>
        manager.enter(() => {
          const { lead } = manager;
          lead?.ask(event, (answer) => {
            const settles = answer.kind !== "refused" || answer.refusal.kind !== "unavailable";
            network.send(manager.address, user, () => {
              if (ended || !settles) return;
              ended = true;
              answered(answer);
            });
          });
        }),
      );
    };
    again();
  }
}
