import type { CancelTimer, Rng, VirtualClock } from "@muster/base";
import type { BorrowTiming } from "../borrow/borrow-timing.ts";
import { createBorrower } from "../borrow/borrower.ts";
import type { Borrower, BorrowerEffect, BorrowerEvent, BorrowRecord } from "../borrow/borrower-contract.ts";
import { borrowerEnv, PEERING, SPEC, want } from "../broker.fixture.ts";
import type { BurstOutcome, BurstRequest } from "../burst-message.ts";

/** What a VM of the borrowing site is meant to be; stored in the same commit as the exchanges. */
export type Intent = "waiting" | "away" | "home" | "gone";

type SendCall = (peer: string, request: BurstRequest, reply: (outcome: BurstOutcome) => void) => void;

/** A borrowing site: the real machine and a core that keeps to the rules of its contract. */
export class BorrowerNode {
  readonly stored = new Map<string, BorrowRecord>();
  readonly intents = new Map<string, Intent>();
  /** How the last search of each VM ended. */
  readonly ends = new Map<string, "leased" | "not-placed">();
  up = true;
  steps = 0;
  /** Once set, VMs that were not placed are not tried again. */
  resting = false;
  fate: () => "lives" | "dies-before-commit" | "dies-after-commit" = () => "lives";
  onCrash: () => void = () => undefined;
  #machine: Borrower;
  #term = 1;
  readonly #timing: Partial<BorrowTiming>;
  readonly #domains: readonly string[];
  readonly #send: SendCall;
  readonly #newId: () => string;
  readonly #clock: VirtualClock;
  readonly #rng: Rng;
  readonly #calls = new Map<string, CancelTimer>();
  #cancelTick: CancelTimer = () => undefined;

  constructor(
    domains: readonly string[],
    timing: Partial<BorrowTiming>,
    send: SendCall,
    newId: () => string,
    clock: VirtualClock,
    rng: Rng,
  ) {
    this.#domains = domains;
    this.#timing = timing;
    this.#send = send;
    this.#newId = newId;
    this.#clock = clock;
    this.#rng = rng;
    this.#machine = createBorrower(timing);
  }

  addVm(vm: string): void {
    this.intents.set(vm, "waiting");
    this.wantAgain(vm);
  }

  wantAgain(vm: string): void {
    if (this.resting || this.intents.get(vm) !== "waiting") return;
    const variant = vm.charCodeAt(vm.length - 1);
    const spec = { ...SPEC, vcpus: 2 + (variant % 5) };
    this.step(want({ vm, spec, leaseMs: 4_000 + 1_000 * (variant % 12) }));
  }

  /** Takes the VM home or gives it up: only the release goes with it, its exchange may take its time. */
  recall(vm: string, intent: "home" | "gone"): void {
    const isAway = this.#machine.exchangeOf(vm) !== undefined;
    // At home it may run only when nothing of it is open elsewhere.
    if (intent === "home" && (isAway || this.intents.get(vm) !== "waiting")) return;
    this.step({ kind: "release", vm, reason: intent }, () => this.intents.set(vm, intent));
  }

  step(event: BorrowerEvent, commitToo: () => void = () => undefined): void {
    if (!this.up) return;
    this.steps += 1;
    const env = borrowerEnv({
      nowMs: this.#clock.nowMs(),
      term: this.#term,
      newId: this.#newId,
      peerings: () => this.#domains.map((domain) => ({ ...PEERING, domain })),
    });
    const { changes, effects } = this.#machine.step(event, env);
    const fate = this.fate();
    if (fate === "dies-before-commit") {
      this.#crash();
      return;
    }
    for (const change of changes)
      if (change.kind === "put") this.stored.set(change.record.id, change.record);
      else if (change.kind === "forget") this.stored.delete(change.id);
    commitToo();
    for (const effect of effects) if (effect.kind === "exchange-changed") this.#takeExchange(effect.record);
    if (fate === "dies-after-commit") {
      this.#crash();
      return;
    }
    for (const effect of effects) this.#carryOut(effect);
    for (const effect of effects) if (effect.kind === "exchange-changed") this.#dropUnwanted(effect.record);
    this.#schedule();
  }

  restart(): void {
    this.up = true;
    // Opening the store raises the term.
    this.#term += 1;
    this.#machine = createBorrower(this.#timing);
    this.#machine.load(structuredClone([...this.stored.values()]));
    this.step({ kind: "tick" });
    for (const vm of this.intents.keys()) this.wantAgain(vm);
  }

  openExchanges(): BorrowRecord[] {
    return [...this.stored.values()].filter(({ stage }) => stage !== "closed");
  }

  #takeExchange(record: BorrowRecord): void {
    const { vm, stage } = record;
    const intent = this.intents.get(vm);
    if (stage === "leased") this.ends.set(vm, "leased");
    if (intent === "waiting" && stage !== "closed") this.intents.set(vm, "away");
    if (intent === "away" && stage === "closed") this.intents.set(vm, "waiting");
  }

  /** An exchange for a VM that is not to be away is released at once, as the contract asks. */
  #dropUnwanted({ vm, stage, wanted }: BorrowRecord): void {
    if (stage === "closed") {
      this.#clock.setTimer(100, () => this.wantAgain(vm));
    } else if (this.intents.get(vm) !== "away" && wanted !== "released")
      this.step({ kind: "release", vm, reason: "not to be away" });
  }

  #carryOut(effect: BorrowerEffect): void {
    if (effect.kind === "send") this.#ask(effect);
    if (effect.kind !== "not-placed") return;
    this.ends.set(effect.vm, "not-placed");
    this.#clock.setTimer(effect.refusal.retryAfterMs ?? 1_000, () => this.wantAgain(effect.vm));
  }

  #ask({ peer, call, request, timeoutMs }: BorrowerEffect & { readonly kind: "send" }): void {
    const end = (outcome: BurstOutcome): void => {
      const cancel = this.#calls.get(call);
      if (cancel === undefined) return;
      cancel();
      this.#calls.delete(call);
      this.step({ kind: "answer", peer, call, outcome });
    };
    this.#calls.set(
      call,
      this.#clock.setTimer(timeoutMs, () => end({ kind: "unknown" })),
    );
    this.#send(peer, request, end);
  }

  #crash(): void {
    this.up = false;
    for (const cancel of this.#calls.values()) cancel();
    this.#calls.clear();
    this.#cancelTick();
    this.onCrash();
  }

  #schedule(): void {
    this.#cancelTick();
    if (!this.up) return;
    const dueMs = this.#machine.nextDueMs();
    if (dueMs === undefined) return;
    const lateMs = 1 + this.#rng.int(20);
    const delayMs = Math.max(0, dueMs - this.#clock.nowMs()) + lateMs;
    this.#cancelTick = this.#clock.setTimer(delayMs, () => this.step({ kind: "tick" }));
  }
}
