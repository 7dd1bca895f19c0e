import { type CancelTimer, type Clock, type Rng, seededRng } from "@muster/base";
import { ETCD_FAULT_KINDS, FAULT_KINDS, type FaultKind, type Hit } from "./faults.ts";
import type { Rig } from "./rig.ts";

export type FaultDriverOptions = {
  readonly rig: Rig;
  readonly rng: Rng;
  readonly clock: Clock;
  /** Longest pause between two faults. */
  readonly pauseMsMax: number;
  readonly log: (entry: object) => void;
};

/** Draws faults from its seed and puts them in, several at a time; undoes what is left at the end. */
export class FaultDriver {
  readonly counts = new Map<string, number>();
  readonly #options: FaultDriverOptions;
  /** From when on a target may be hit again. */
  readonly #restedAtMs = new Map<string, number>();
  readonly #open = new Map<string, { readonly cancel: CancelTimer; readonly undo: () => void }>();

  constructor(options: FaultDriverOptions) {
    this.#options = options;
  }

  /** Puts faults in, one after the other, until `over`. */
  async work(over: AbortSignal): Promise<void> {
    const { clock, rng, pauseMsMax } = this.#options;
    while (!over.aborted) {
      await this.#one();
      await new Promise<void>((resolve) => clock.setTimer(100 + rng.int(pauseMsMax), resolve));
    }
  }

  /** Undoes whatever is still in. */
  heal(): void {
    for (const target of [...this.#open.keys()]) this.#undo(target);
  }

  async #one(): Promise<void> {
    const { clock, log } = this.#options;
    const kind = this.#drawKind();
    const hit = this.#drawHit();
    const injected = hit === undefined ? undefined : await kind.inject(hit);
    if (injected === undefined) return;
    const { target, durationMs, undo } = injected;
    this.counts.set(kind.name, (this.counts.get(kind.name) ?? 0) + 1);
    this.#restedAtMs.set(target, clock.nowMs() + durationMs + kind.restMs);
    this.#open.set(target, { cancel: clock.setTimer(durationMs, () => this.#undo(target)), undo });
    log({ fault: kind.name, target, durationMs, atMs: clock.nowMs() });
  }

  #undo(target: string): void {
    const { clock, log } = this.#options;
    const open = this.#open.get(target);
    if (open === undefined) return;
    this.#open.delete(target);
    open.cancel();
    open.undo();
    log({ healed: target, atMs: clock.nowMs() });
  }

  #drawKind(): FaultKind {
    const { rig, rng } = this.#options;
    const kinds = rig.etcd === undefined ? FAULT_KINDS : [...FAULT_KINDS, ...ETCD_FAULT_KINDS];
    const sum = kinds.reduce((total, { weight }) => total + weight, 0);
    let left = rng.int(sum);
    for (const kind of kinds) {
      left -= kind.weight;
      if (left < 0) return kind;
    }
    throw new Error("a draw is below the sum of all weights");
  }

  #drawHit(): Hit | undefined {
    const { rig, rng, clock } = this.#options;
    const site = rig.sites[rng.int(rig.sites.length)];
    const host = site?.run.hosts[rng.int(site.run.hosts.length)];
    const managers = [...(site?.run.managers.keys() ?? [])];
    const manager = managers[rng.int(Math.max(1, managers.length))];
    if (site === undefined || host === undefined || manager === undefined) return undefined;
    const rested = (target: string): boolean =>
      !this.#open.has(target) && clock.nowMs() >= (this.#restedAtMs.get(target) ?? 0);
    // A stream of its own: what comes after does not depend on whether this one found its target.
    return { rig, site, host, manager, rng: seededRng(rng.int(2 ** 31)), rested };
  }
}
