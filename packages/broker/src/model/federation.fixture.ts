import { type Rng, seededRng, VirtualClock } from "@muster/base";
import { idMaker } from "../broker.fixture.ts";
import { BorrowerNode } from "./borrower-node.fixture.ts";
import { LenderNode, REMOVAL_MS_MAX } from "./lender-node.fixture.ts";
import { Network } from "./network.fixture.ts";

const DOWN_MS_MAX = 2_000;
const DELAY_MS_MAX = 3_000;
/** What may come on top of lease and grace: a manager that is down, and its hosts' time to remove. */
const SLACK_MS = DOWN_MS_MAX + REMOVAL_MS_MAX + 500;
const TIMING = {
  holdMs: 5_000,
  askMs: 5_000,
  callTimeoutMs: 1_000,
  flightMs: DELAY_MS_MAX + 500,
  graceMs: 3_000,
  marginMs: SLACK_MS,
  rememberMs: 60_000,
};
const STORM_MS = 90_000;
const CALM_MS = 40_000;
const VMS = 9;

export type Run = { readonly steps: number; readonly leased: number; readonly notPlaced: number };

/** One borrower and two lenders through a storm and the calm after it; throws with the invariant that broke. */
export class Federation {
  readonly #clock = new VirtualClock(1_000_000);
  readonly #rng: Rng;
  readonly #newId = idMaker();
  readonly #network: Network;
  readonly #lenders: ReadonlyMap<string, LenderNode>;
  readonly #borrower: BorrowerNode;
  #crashRate = 0.004;

  constructor(seed: number) {
    this.#rng = seededRng(seed);
    const weather = {
      loss: this.#rng.next() * 0.2,
      duplicate: this.#rng.next() * 0.3,
      delayMsMax: DELAY_MS_MAX,
    };
    this.#network = new Network(this.#clock, this.#rng, weather);
    const domains = ["beta.test", "gamma.test"];
    this.#lenders = new Map(domains.map((domain) => [domain, new LenderNode(domain, this.#clock, this.#rng)]));
    this.#borrower = new BorrowerNode(
      domains,
      TIMING,
      (peer, request, reply) =>
        this.#network.carry(peer, () =>
          this.#lenders.get(peer)?.request(request, (outcome) => {
            this.#network.carry(peer, () => reply(outcome));
          }),
        ),
      this.#newId,
      this.#clock,
      this.#rng,
    );
    for (const node of [this.#borrower, ...this.#lenders.values()]) this.#letCrash(node);
    for (const [peer, lender] of this.#lenders)
      lender.onNotice = (notice) =>
        this.#network.carry(peer, () => this.#borrower.step({ kind: "notice", peer, notice }));
  }

  run(): Run {
    const vms = Array.from({ length: VMS }, () => this.#newId());
    for (const vm of vms) this.#clock.setTimer(this.#rng.int(STORM_MS / 2), () => this.#borrower.addVm(vm));
    for (let trouble = 0; trouble < 12; trouble += 1)
      this.#clock.setTimer(this.#rng.int(STORM_MS), () => this.#meddle(vms));
    this.#advance(STORM_MS);
    this.#calm();
    this.#advance(CALM_MS);
    this.#borrower.resting = true;
    this.#advance(CALM_MS);
    this.#checkEnd(vms);
    const ends = vms.map((vm) => this.#borrower.ends.get(vm));
    return {
      steps: this.#borrower.steps + [...this.#lenders.values()].reduce((total, { steps }) => total + steps, 0),
      leased: ends.filter((end) => end === "leased").length,
      notPlaced: ends.filter((end) => end === "not-placed").length,
    };
  }

  #advance(durationMs: number): void {
    const endMs = this.#clock.nowMs() + durationMs;
    for (let dueMs = this.#clock.nextDueMs(); dueMs !== undefined && dueMs <= endMs; dueMs = this.#clock.nextDueMs()) {
      this.#clock.advance(Math.max(0, dueMs - this.#clock.nowMs()));
      this.#check();
    }
    this.#clock.advance(endMs - this.#clock.nowMs());
  }

  /** After every step: P1, B2, B4, B5. A VM may not even be held at one place while it is open at another. */
  #check(): void {
    const places = new Map<string, string>();
    for (const [vm, intent] of this.#borrower.intents) if (intent === "home") places.set(vm, "home");
    for (const lender of this.#lenders.values()) {
      const broken = lender.violation(SLACK_MS);
      if (broken !== undefined) throw new Error(broken);
      for (const vm of lender.openVms()) {
        const other = places.get(vm);
        if (other !== undefined) throw new Error(`P1: ${vm} is at ${other} and at ${lender.domain}`);
        places.set(vm, lender.domain);
      }
    }
  }

  /** With the line healed: every want has an end, every lease its twin, and nothing else is open. */
  #checkEnd(vms: readonly string[]): void {
    const open = new Map(this.#borrower.openExchanges().map((record) => [record.id, record]));
    for (const { id, stage, vm } of open.values())
      if (stage !== "leased") throw new Error(`P3: exchange ${id} of ${vm} is still ${stage}`);
    for (const lender of this.#lenders.values())
      for (const { id, stage } of lender.stored.values()) {
        const closed = stage === "released" || stage === "voided";
        if (!closed && (stage !== "leased" || !open.has(id)))
          throw new Error(`B4: ${stage} exchange ${id} at ${lender.domain} has no twin`);
        if (closed && open.has(id)) throw new Error(`B4: ${id} is ${stage} at ${lender.domain} and leased at home`);
      }
    for (const vm of vms) {
      const intent = this.#borrower.intents.get(vm);
      const isAway = [...open.values()].some((record) => record.vm === vm);
      if ((intent === "away") !== isAway) throw new Error(`P3: ${vm} is ${intent}, its exchange says otherwise`);
      if (intent === "waiting" && this.#borrower.ends.get(vm) === undefined)
        throw new Error(`P3: the want of ${vm} came to no end`);
    }
  }

  #letCrash(node: BorrowerNode | LenderNode): void {
    node.fate = () => {
      if (this.#rng.next() >= this.#crashRate) return "lives";
      return this.#rng.next() < 0.5 ? "dies-before-commit" : "dies-after-commit";
    };
    node.onCrash = () => {
      this.#clock.setTimer(this.#rng.int(DOWN_MS_MAX), () => node.restart());
    };
  }

  #meddle(vms: readonly string[]): void {
    const vm = vms[this.#rng.int(vms.length)] ?? "";
    const lender = [...this.#lenders.values()][this.#rng.int(this.#lenders.size)];
    const lastsMs = this.#rng.int(25_000);
    const trouble = this.#rng.int(6);
    if (trouble === 0) this.#borrower.recall(vm, "home");
    else if (trouble === 1) this.#borrower.recall(vm, "gone");
    else if (trouble === 2 && this.#borrower.intents.get(vm) === "away")
      this.#borrower.step({ kind: "set-wanted", vm, wanted: "paused" });
    else if (trouble === 3 && lender !== undefined) {
      lender.accept = false;
      this.#clock.setTimer(lastsMs, () => {
        lender.accept = true;
      });
    } else if (lender !== undefined) {
      this.#network.partitioned.add(lender.domain);
      this.#clock.setTimer(lastsMs, () => this.#network.partitioned.delete(lender.domain));
    }
  }

  #calm(): void {
    this.#crashRate = 0;
    Object.assign(this.#network.weather, { loss: 0, duplicate: 0, delayMsMax: 20 });
    this.#network.partitioned.clear();
    for (const lender of this.#lenders.values()) lender.accept = true;
  }
}
