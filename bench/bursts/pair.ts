/** The real borrower and lenders, without a network between them: what they say is counted, and carried at once. */
import {
  type Borrower,
  type BorrowerEnv,
  type BorrowerEvent,
  type BurstRequest,
  createBorrower,
  createLender,
  type Lender,
  type LenderEnv,
  type LenderEvent,
  type Peering,
} from "@muster/broker";
import type { VmSpec } from "@muster/protocol";

export const SPEC: VmSpec = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5, gpus: 0, labels: {} };
const ROOM = { vcpus: 100_000, memoryMiB: 100_000_000, diskGiB: 1_000_000, gpus: 0 };
const KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
export const HOME = "home.example";

let ids = 0;
export function newId(): string {
  ids += 1;
  return `01900000-0000-7000-8000-${ids.toString(16).padStart(12, "0")}`;
}

export function peeringOf(domain: string): Peering {
  const lend = { accept: true, share: 1, leaseMsMax: 3_600_000, vmsMax: 100_000, images: [] };
  return { domain, publicKey: KEY, lend, borrow: true, state: "active" };
}

/** One borrower and its lenders on a clock of their own. */
export class Market {
  nowMs = 1_700_000_000_000;
  readonly borrower: Borrower = createBorrower();
  readonly lenders = new Map<string, Lender>();
  /** Peers that answer nothing. */
  readonly silent = new Set<string>();
  /** Questions by kind. */
  readonly asked = new Map<string, number>();
  readonly #peerings: readonly Peering[];

  constructor(domains: readonly string[]) {
    this.#peerings = domains.map(peeringOf);
    for (const domain of domains) this.lenders.set(domain, createLender());
  }

  get messages(): number {
    return [...this.asked.values()].reduce((sum, count) => sum + count, 0);
  }

  step(event: BorrowerEvent): void {
    const waiting: BorrowerEvent[] = [event];
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      for (const effect of this.borrower.step(next, this.#env()).effects) {
        if (effect.kind !== "send") continue;
        const { peer, call, request } = effect;
        this.asked.set(request.kind, (this.asked.get(request.kind) ?? 0) + 1);
        if (!this.silent.has(peer)) waiting.push(...this.#ask(peer, call, request));
      }
    }
  }

  /** Goes to what is due next, at the latest in `mostMs`. */
  pass(mostMs: number): void {
    const dueMs = this.borrower.nextDueMs() ?? Number.POSITIVE_INFINITY;
    this.nowMs = Math.min(this.nowMs + mostMs, Math.max(this.nowMs, dueMs));
    this.step({ kind: "tick" });
  }

  want(): string {
    const vm = newId();
    this.step({ kind: "want", vm, name: "web", project: "p", owner: "o", spec: SPEC, leaseMs: 3_600_000 });
    return vm;
  }

  #env(): BorrowerEnv {
    return { nowMs: this.nowMs, term: 1, newId, peerings: () => this.#peerings };
  }

  /** What the lender says to it; what it leases runs at once. */
  #ask(peer: string, call: string, request: BurstRequest): BorrowerEvent[] {
    const lender = this.lenders.get(peer);
    if (lender === undefined) throw new Error(`no lender ${peer}`);
    const said: BorrowerEvent[] = [];
    const events: LenderEvent[] = [{ kind: "request", peer: HOME, ticket: 1, request }];
    for (let event = events.shift(); event !== undefined; event = events.shift())
      for (const effect of lender.step(event, lenderEnv(this.nowMs)).effects) {
        if (effect.kind === "answer")
          said.push({ kind: "answer", peer, call, outcome: { kind: "answered", answer: effect.answer } });
        else if (effect.kind === "refuse")
          said.push({ kind: "answer", peer, call, outcome: { kind: "refused", refusal: effect.refusal } });
        else if (effect.kind === "place")
          events.push({ kind: "vm-changed", peer: HOME, id: effect.record.id, phase: "running" });
        else if (effect.kind === "notify") said.push({ kind: "notice", peer, notice: { states: effect.states } });
      }
    return said;
  }
}

function lenderEnv(nowMs: number): LenderEnv {
  return {
    nowMs,
    term: 1,
    agent: "muster",
    peering: peeringOf,
    roomFor: () => undefined,
    siteTotal: ROOM,
    siteFree: ROOM,
    largest: ROOM,
    images: [SPEC.image],
    graceMs: 10_000,
    rememberMs: 3_600_000,
  };
}
