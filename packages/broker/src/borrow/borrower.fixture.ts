import type { LeaseState, Offer } from "@muster/protocol";
import { refusal } from "@muster/protocol";
import { borrowerEnv, PEERING, SITE, want } from "../broker.fixture.ts";
import type { BurstAnswer, BurstOutcome, BurstRequest } from "../burst-message.ts";
import type { Peering } from "../peering/peering.ts";
import { createBorrower } from "./borrower.ts";
import type { Borrower, BorrowerEffect, BorrowerEnv, BorrowerEvent, BorrowRecord } from "./borrower-contract.ts";

export const START = 100_000;
export const { vm: VM } = want();
export const FULL = refusal("resource-constraint", "no-capacity", "every host is full");

export const BETA: Peering = PEERING;
export const GAMMA: Peering = { ...PEERING, domain: "gamma.test" };

type Sent = BorrowerEffect & { readonly kind: "send" };
type Kind = BurstRequest["kind"];

/** Drives one borrower by hand: time, answers and what it asked. */
export class Site {
  nowMs = START;
  readonly asked: Sent[] = [];
  readonly changes: unknown[] = [];
  machine: Borrower;
  /** What a test lets the environment say beyond the peerings. */
  more: Partial<BorrowerEnv> = {};
  readonly #peerings: readonly Peering[];
  readonly #open = new Map<string, Sent>();

  constructor(peerings: readonly Peering[], timing: { readonly searchesMax?: number } = {}) {
    this.#peerings = peerings;
    this.machine = createBorrower(timing);
  }

  load(records: readonly BorrowRecord[]): void {
    this.machine.load(records);
  }

  /** Where an image may be fetched at this moment. */
  ticketed(digest: string): string {
    return `https://images.test/${digest}?ticket=${this.nowMs}`;
  }

  step(event: BorrowerEvent): readonly BorrowerEffect[] {
    const imageUrls = (digest: string) => [this.ticketed(digest)];
    const env = borrowerEnv({ nowMs: this.nowMs, peerings: () => this.#peerings, imageUrls, ...this.more });
    const { changes, effects } = this.machine.step(event, env);
    this.changes.push(...changes);
    for (const effect of effects) {
      if (effect.kind !== "send") continue;
      this.asked.push(effect);
      this.#open.set(effect.call, effect);
    }
    return effects;
  }

  outstanding(kind: Kind): Sent[] {
    return [...this.#open.values()].filter(({ request }) => request.kind === kind);
  }

  /** The latest question of this kind that waits for its answer. */
  sent(kind: Kind, peer?: string): Sent {
    const sent = this.outstanding(kind)
      .filter((call) => peer === undefined || call.peer === peer)
      .at(-1);
    if (sent === undefined) throw new Error(`no ${kind} is under way`);
    return sent;
  }

  end(sent: Sent, outcome: BurstOutcome): readonly BorrowerEffect[] {
    this.#open.delete(sent.call);
    return this.step({ kind: "answer", peer: sent.peer, call: sent.call, outcome });
  }

  answer(kind: Kind, answer: BurstAnswer | ((site: Site) => BurstAnswer), peer?: string): readonly BorrowerEffect[] {
    const body = typeof answer === "function" ? answer(this) : answer;
    return this.end(this.sent(kind, peer), { kind: "answered", answer: body });
  }

  answerOffers(part: Partial<Offer>): readonly BorrowerEffect[] {
    return this.outstanding("offer-query").flatMap((sent) =>
      this.end(sent, { kind: "answered", answer: { kind: "offer", body: offer(part) } }),
    );
  }

  refuse(kind: Kind, why: typeof FULL): readonly BorrowerEffect[] {
    return this.end(this.sent(kind), { kind: "refused", refusal: why });
  }

  unknown(kind: Kind, afterMs: number): void {
    this.nowMs += afterMs;
    this.end(this.sent(kind), { kind: "unknown" });
  }

  unknownAll(): void {
    for (const sent of [...this.#open.values()]) this.end(sent, { kind: "unknown" });
  }

  notice(said: LeaseState, peer = "beta.test"): void {
    this.step({ kind: "notice", peer, notice: { states: [said] } });
  }

  /** Goes to the next thing that is due and does it. */
  due(): void {
    this.nowMs = Math.max(this.nowMs, this.machine.nextDueMs() ?? this.nowMs);
    this.step({ kind: "tick" });
  }

  /** Goes on in time until such a question is asked; offers are not answered on the way. */
  untilSent(kind: Kind): void {
    for (let round = 0; round < 20 && this.outstanding(kind).length === 0; round += 1) this.due();
  }

  record(): BorrowRecord | undefined {
    return this.machine.exchangeOf(VM);
  }

  id(): string {
    return this.record()?.id ?? "";
  }
}

/** A site whose VM asks its best peer for a hold. */
export function searching(peerings: readonly Peering[] = [BETA]): Site {
  const site = new Site(peerings);
  site.step(want());
  site.answerOffers({});
  return site;
}

export function leasedSite(peerings: readonly Peering[] = [BETA]): Site {
  const site = searching(peerings);
  site.answer("hold", heldAnswer(site));
  site.answer("lease", leasedAnswer(site));
  return site;
}

export function offer(part: Partial<Offer>): Offer {
  const base = { accepting: true, free: SITE, largest: SITE, leaseMsMax: 300_000, images: ["debian-12"] };
  return { ...base, revision: 0, agent: "muster", ...part };
}

export function heldAnswer(site: Site): BurstAnswer {
  return { kind: "held", body: { id: site.id(), remainingMs: 30_000, leaseMsMax: 300_000 } };
}

export function leasedAnswer(site: Site, remainingMs = 60_000): BurstAnswer {
  return { kind: "leased", body: { state: state(site, { revision: 2, stage: "leased", vm: "queued", remainingMs }) } };
}

export function released(stage: "voided" | "released") {
  return (site: Site): BurstAnswer => ({ kind: "released", body: { state: state(site, { revision: 8, stage }) } });
}

export function renewed(states: readonly LeaseState[]): BurstAnswer {
  return { kind: "renewed", body: { leases: states.map((said) => ({ id: said.id, state: said })) } };
}

export function state(site: Site, part: Partial<LeaseState>): LeaseState {
  return { id: site.id(), revision: 1, stage: "leased", remainingMs: 0, ...part };
}

export function lease(id: string, part: Partial<LeaseState> = {}): LeaseState {
  return { id, revision: 2, stage: "leased", vm: "running", remainingMs: 30_000, ...part };
}

/** A stored exchange at beta that is leased. */
export function lent(index: number): BorrowRecord {
  const tail = index.toString(16).padStart(12, "0");
  const { kind: _, ...wanted } = want({ vm: `01900000-0000-7000-9000-${tail}` });
  return {
    ...wanted,
    id: `01900000-0000-7000-a000-${tail}`,
    peer: "beta.test",
    digest: "0".repeat(64),
    stage: "leased",
    wanted: "running",
    expiresAtMs: START + 30_000,
    overAtMs: START + 200_000,
    renewals: 0,
    revision: 1,
    vmPhase: "running",
    changedAtMs: START,
  };
}
