import type { Clock, Rng } from "@muster/base";
import type { SiteClient } from "@muster/client";
import type { BurstChoice, VmCreateInput } from "@muster/protocol";
import type { AskedDelete, AskedRequest } from "./history.ts";

/** Of one user, for the figures. */
export type UserFigures = {
  asked: number;
  repeated: number;
  accepted: number;
  refused: number;
  deleted: number;
  /** Tries that ended without an answer: nobody led, or nobody could be reached, for as long as the client waits. */
  unanswered: number;
};

export type UserOptions = {
  readonly name: string;
  readonly site: string;
  readonly client: SiteClient;
  readonly rng: Rng;
  readonly clock: Clock;
  /** VMs that this user has at most at a time. */
  readonly vmsMax: number;
  readonly log: (entry: object) => void;
};

type Wish = { readonly asked: AskedRequest; readonly create: VmCreateInput };

const BURSTS: readonly BurstChoice[] = ["never", "allow", "allow", "only"];

/** Longest pause between two operations of a user. */
const PAUSE_MS_MAX = 700;
/** Answers that settle nothing: the same request is asked again under the same id. */
const PASSING: readonly string[] = ["unavailable", "not-leader", "internal"];

/** A client of one site: asks for VMs, repeats itself, deletes, and writes down what it asked and heard. */
export class User {
  readonly requests: AskedRequest[] = [];
  readonly deletes: AskedDelete[] = [];
  readonly figures: UserFigures = { asked: 0, repeated: 0, accepted: 0, refused: 0, deleted: 0, unanswered: 0 };
  readonly #options: UserOptions;
  readonly #wishes: Wish[] = [];
  /** VMs that were accepted and that this user has not deleted. */
  readonly #owned = new Set<string>();

  constructor(options: UserOptions) {
    this.#options = options;
  }

  /** Works, one operation after the other, until `over`. */
  async work(over: AbortSignal): Promise<void> {
    const { rng, clock } = this.#options;
    while (!over.aborted) {
      await this.#act();
      await new Promise<void>((resolve) => clock.setTimer(50 + rng.int(PAUSE_MS_MAX), resolve));
    }
  }

  /** Asks again whatever has no answer yet; how many have none then. */
  async settle(): Promise<number> {
    let left = 0;
    for (const wish of this.#wishes) {
      if (wish.asked.answers.length === 0) await this.#ask(wish);
      if (wish.asked.answers.length === 0) left += 1;
    }
    for (const one of this.deletes) {
      if (!one.acknowledged) await this.#sendDelete(one);
      if (!one.acknowledged) left += 1;
    }
    return left;
  }

  /** Deletes those of its VMs that are among these. */
  async withdraw(vms: ReadonlySet<string>): Promise<void> {
    for (const vm of [...this.#owned]) if (vms.has(vm)) await this.#delete(vm);
  }

  /** Says every accepted request once more: each is to be answered as before. */
  async repeatAll(): Promise<void> {
    for (const wish of this.#wishes)
      if (wish.asked.answers.some(({ kind }) => kind === "accepted")) await this.#ask(wish);
  }

  async #act(): Promise<void> {
    const { rng, vmsMax } = this.#options;
    const roll = rng.int(100);
    const owned = [...this.#owned];
    const victim = owned[rng.int(Math.max(1, owned.length))];
    const earlier = this.#wishes[rng.int(Math.max(1, this.#wishes.length))];
    if (victim !== undefined && (owned.length >= vmsMax || roll < 30)) await this.#delete(victim);
    else if (earlier !== undefined && roll < 40) {
      this.figures.repeated += 1;
      await this.#ask(earlier);
    } else await this.#wish();
  }

  async #wish(): Promise<void> {
    const { rng, name, site } = this.#options;
    const id = `${name}-${this.#wishes.length + 1}`;
    const expires = rng.int(12) === 0;
    const create: VmCreateInput = {
      name: id,
      count: 1 + (rng.int(4) === 0 ? rng.int(3) : 0),
      spec: { image: "debian-12", vcpus: 1 + rng.int(2), memoryMiB: 64 * (1 + rng.int(4)), diskGiB: 1 + rng.int(4) },
      priority: rng.int(8) === 0 ? 8 : 5,
      burst: BURSTS[rng.int(BURSTS.length)] ?? "never",
      leaseMs: rng.int(2) === 0 ? 30_000 : 120_000,
      ...(expires ? { expiresAfterMs: 15_000 } : {}),
    };
    const wish: Wish = { asked: { site, id, expires, answers: [] }, create };
    this.#wishes.push(wish);
    this.requests.push(wish.asked);
    this.figures.asked += 1;
    // Now and then two at once, as of a client that was too impatient.
    if (rng.int(4) === 0) await Promise.all([this.#ask(wish), this.#ask(wish)]);
    else await this.#ask(wish);
  }

  async #ask({ asked, create }: Wish): Promise<void> {
    const { client, clock, log } = this.#options;
    const { id, answers } = asked;
    const askedMs = clock.nowMs();
    const answer = await client.createVms(create, id);
    const atMs = clock.nowMs();
    const first = answers.length === 0;
    if (answer.ok) {
      const vms = answer.value.vms.map((vm) => vm.id);
      answers.push({ kind: "accepted", vms, atMs });
      if (first) {
        this.figures.accepted += 1;
        for (const vm of vms) this.#owned.add(vm);
      }
      log({ asked: id, askedMs, atMs, accepted: vms, term: answer.value.term });
      return;
    }
    const { kind, reason, message } = answer.error;
    log({ asked: id, askedMs, atMs, refused: kind, reason, message });
    if (PASSING.includes(kind)) {
      this.figures.unanswered += 1;
      return;
    }
    if (first) this.figures.refused += 1;
    answers.push({ kind: "refused", reason, atMs });
  }

  async #delete(vm: string): Promise<void> {
    const one: AskedDelete = { site: this.#options.site, vm, acknowledged: false };
    this.#owned.delete(vm);
    this.deletes.push(one);
    this.figures.deleted += 1;
    await this.#sendDelete(one);
  }

  async #sendDelete(one: AskedDelete): Promise<void> {
    const { client, clock, log } = this.#options;
    const askedMs = clock.nowMs();
    const answer = await client.deleteVm(one.vm);
    const heard = answer.ok
      ? { phase: answer.value.phase }
      : { refused: answer.error.kind, reason: answer.error.reason };
    log({ deleted: one.vm, askedMs, atMs: clock.nowMs(), ...heard });
    if (answer.ok || !PASSING.includes(answer.error.kind)) one.acknowledged = true;
    else this.figures.unanswered += 1;
  }
}
