/** A cluster manager of a site: waits, takes the lead under the next term, loses it, hangs, dies and comes back. */
import { createBorrower, createLedger, createLender, type Ledger } from "@muster/broker";
import { type Core, createCore } from "@muster/cluster-manager";
import { Lead } from "./lead.ts";
import { BORROW_TIMES, LEDGER_TIMES, sitePolicy } from "./policy.ts";
import type { Site } from "./site.ts";
import type { World } from "./world.ts";

export type { Lead } from "./lead.ts";

const LOAD_MS = 20;
const RETURN_MS = 2_000;

export class ManagerNode {
  readonly name: string;
  readonly site: Site;
  readonly world: World;
  up = true;
  paused = false;
  lead: Lead | undefined;
  /** Reads the store under its new term. */
  taking = false;
  #stalled: (() => void)[] = [];
  #life = 0;
  #offsetMs: number;

  constructor(world: World, site: Site, name: string) {
    this.world = world;
    this.site = site;
    this.name = name;
    this.#offsetMs = site.wallOffsetMs();
  }

  get address(): string {
    return `${this.site.name}/${this.name}`;
  }

  get waits(): boolean {
    return this.up && !this.paused && this.lead === undefined && !this.taking;
  }

  /** The wall clock as it was when the process began, moved on by this machine's clock. */
  siteNowMs(): number {
    return Math.floor(this.world.timeline.nowMs * this.site.rate + this.#offsetMs);
  }

  untilMs(siteMs: number): number {
    return Math.ceil((siteMs - this.#offsetMs) / this.site.rate - this.world.timeline.nowMs);
  }

  /** Something reaches the process: it acts now, when it wakes, or never. */
  enter(act: () => void): void {
    const life = this.#life;
    const run = (): void => {
      if (life === this.#life && this.up) act();
    };
    if (this.paused) this.#stalled.push(run);
    else run();
  }

  /** Becomes leader under the next term; whoever led is not asked. */
  takeLead(): void {
    if (!this.waits) return;
    const { site, world } = this;
    const stale = world.ports.staleRead === true ? site.staleRecords() : undefined;
    const term = world.ports.sameTerm === true && site.store.term > 0 ? site.store.term : site.store.raiseTerm();
    this.taking = true;
    world.figures.terms += 1;
    world.note(this.address, () => `takes the lead, term ${term}`);
    world.timeline.after(1 + world.rng.int(LOAD_MS), () =>
      this.enter(() => {
        this.taking = false;
        if (site.store.term !== term) return;
        const records = stale ?? site.store.read();
        this.lead = new Lead(this, term, () => this.#makeCore(term), records);
        site.bind(this.lead);
        world.tell((checker) => this.lead !== undefined && checker.onLead?.(this.lead));
        this.lead.turn();
      }),
    );
  }

  /** Leads no more and knows it: it waits again, as a fresh process would. */
  stepDown(): void {
    const { lead } = this;
    this.lead = undefined;
    lead?.end(true);
    this.#life += 1;
    this.taking = false;
    this.#offsetMs = this.site.wallOffsetMs();
  }

  crash(): void {
    if (!this.up) return;
    this.up = false;
    this.paused = false;
    this.taking = false;
    this.#life += 1;
    this.#stalled = [];
    const { lead } = this;
    this.lead = undefined;
    lead?.end(false);
    this.world.note(this.address, () => "crashes");
  }

  crashAndReturn(): void {
    this.crash();
    this.world.timeline.after(100 + this.world.rng.int(RETURN_MS), () => this.start());
  }

  start(): void {
    const waitMs = this.site.goneUntilMs - this.world.timeline.nowMs;
    if (waitMs > 0) this.world.timeline.after(waitMs, () => this.start());
    if (this.up || waitMs > 0) return;
    this.up = true;
    this.#offsetMs = this.site.wallOffsetMs();
    this.world.note(this.address, () => "starts");
  }

  wake(): void {
    if (!this.paused) return;
    this.paused = false;
    this.world.note(this.address, () => "goes on");
    for (const act of this.#stalled.splice(0)) act();
  }

  #makeCore(term: number): Core {
    const { ports, swarm } = this.world;
    const lender = createLender();
    const borrower = createBorrower(BORROW_TIMES);
    const { keys } = this.site;
    const core = createCore({
      policy: sitePolicy(this.site.domain, this.name, term, this.site.peers, swarm),
      lender: ports.lender?.(lender) ?? lender,
      borrower: ports.borrower?.(borrower) ?? borrower,
      ...(swarm.deals ? { ledger: this.#makeLedger(), ownKeys: () => keys.map(({ publicKey }) => publicKey) } : {}),
    });
    return ports.core?.(core, this.site.domain) ?? core;
  }

  #makeLedger(): Ledger {
    const { ports, swarm } = this.world;
    const { domain, keys, index } = this.site;
    const options = { domain, keys: () => keys, timing: LEDGER_TIMES };
    const ledger = createLedger(ports.ledgerOptions?.(options) ?? options);
    const kept = swarm.fastMeter === index ? fastMeter(ledger) : ledger;
    return ports.ledger?.(kept, domain) ?? kept;
  }
}

/** Any time that is past; how much faster its clock runs from then on. */
const FAST_SINCE_MS = 1_600_000_000_000;
const FAST_RATE = 1.5;

/** Books whose clock runs too fast: what it lends is more than was used, in every receipt, and signed. */
function fastMeter(ledger: Ledger): Ledger {
  const fast = (nowMs: number): number => FAST_SINCE_MS + (nowMs - FAST_SINCE_MS) * FAST_RATE;
  return {
    ...ledger,
    step: (event, env) => ledger.step(event, { ...env, nowMs: fast(env.nowMs) }),
    nextDueMs() {
      const due = ledger.nextDueMs();
      return due === undefined ? undefined : FAST_SINCE_MS + (due - FAST_SINCE_MS) / FAST_RATE;
    },
  };
}
