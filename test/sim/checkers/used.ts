/** How long leases ran, from what lender and borrower stored of them, by the time of the run. */
import type { BorrowRecord, LendRecord } from "@muster/broker";
import type { Lead } from "../lead.ts";
import type { Kept } from "../site-store.ts";
import type { World } from "../world.ts";

type Run = { readonly fromMs: number; untilMs?: number };
type UsedLease = {
  readonly lender: string;
  readonly borrower: string;
  readonly lease: string;
  readonly usedMs: number;
  readonly overForMs: number;
};

export class Used {
  readonly #atLender = new Map<string, Run>();
  readonly #atBorrower = new Map<string, Run>();
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  take({ site }: Lead, kept: readonly Kept[]): void {
    for (const { key, after } of kept) {
      if (after === undefined) continue;
      if (key.startsWith("lend/")) {
        const { peer, id, stage, vmPhase } = after as LendRecord;
        const over = stage === "released" || stage === "voided";
        this.#note(this.#atLender, `${site.domain} ${peer} ${id}`, stage === "leased" && vmPhase === "running", over);
      } else if (key.startsWith("borrow/")) {
        const { peer, id, stage, vmPhase } = after as BorrowRecord;
        const runs = stage === "leased" && vmPhase === "running";
        this.#note(this.#atBorrower, `${peer} ${site.domain} ${id}`, runs, stage === "closed");
      }
    }
  }

  /** How long the borrower has known of the VM to run by this lease. */
  knownToBorrower(lender: string, borrower: string, lease: string): number {
    const run = this.#atBorrower.get(`${lender} ${borrower} ${lease}`);
    return run === undefined ? 0 : (run.untilMs ?? this.#world.timeline.nowMs) - run.fromMs;
  }

  /** Leases that ran and are over. */
  *atLenders(): Iterable<UsedLease> {
    for (const [key, { fromMs, untilMs }] of this.#atLender) {
      const [lender = "", borrower = "", lease = ""] = key.split(" ");
      if (untilMs === undefined) continue;
      yield { lender, borrower, lease, usedMs: untilMs - fromMs, overForMs: this.#world.timeline.nowMs - untilMs };
    }
  }

  #note(runs: Map<string, Run>, key: string, begins: boolean, ends: boolean): void {
    const { nowMs } = this.#world.timeline;
    const run = runs.get(key);
    if (run === undefined && begins) runs.set(key, { fromMs: nowMs });
    if (run !== undefined && run.untilMs === undefined && ends) run.untilMs = nowMs;
  }
}
