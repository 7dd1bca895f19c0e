/**
 * What a policy would have granted of recorded requests: the lender itself, on a clock of its own, with a borrower that leases
 * what it is granted, renews it in time and gives it back when its VM is done.
 */
import {
  type Hold,
  lacking,
  RESOURCE_WORDS,
  type RecordedRequest,
  type Refusal,
  type Resources,
  refusal,
  resourcesOf,
  type SimulatedRequest,
  type SimulationView,
  subtract,
  sum,
  type VmSpec,
} from "@muster/protocol";
import { burstDigest } from "../burst-digest.ts";
import type { PeerRequest } from "../burst-message.ts";
import type { Peering } from "../peering/peering.ts";
import { createLender } from "./lender.ts";
import type { Lender, LenderEnv, LenderEvent } from "./lender-contract.ts";
import { HOUR_MS } from "./vm-hours.ts";

export type SimulatedSite = {
  readonly peering: Peering;
  readonly siteTotal: Resources;
  readonly images: readonly string[];
  readonly requests: readonly RecordedRequest[];
};

/** Most questions that the borrower asks in one simulation, renewals included (S2). */
export const SIMULATED_STEPS_MAX = 200_000;
/** Questions between two pauses. */
const STEPS_A_PAUSE = 200;
const REMEMBER_MS = HOUR_MS;
const RENEW_MS_LEAST = 500;

type Turn = { readonly atMs: number; readonly kind: "ask" | "renew" | "end"; readonly line: number };

/**
 * Yields now and then, so that whoever drives it can do something else; returns the outcome. The site is one pool of
 * `siteTotal` of which nothing else takes anything. Approvals are not given: what needs one is told as such.
 */
export function* simulatePolicy(site: SimulatedSite): Generator<void, SimulationView | Refusal> {
  const lender = createLender();
  const run = new Simulation(site, lender);
  const due: Turn[] = site.requests.map(({ atMs }, index) => ({ atMs, kind: "ask" as const, line: index + 1 }));
  due.sort(byTime);
  for (let steps = 0; due.length > 0; steps += 1) {
    if (steps >= SIMULATED_STEPS_MAX)
      return refusal(
        "policy-violation",
        "simulation-too-long",
        `it takes more than ${SIMULATED_STEPS_MAX} questions: simulate fewer requests, or longer leases`,
      );
    if (steps % STEPS_A_PAUSE === STEPS_A_PAUSE - 1) yield;
    const turn = due.shift();
    if (turn === undefined) break;
    const next = run.take(turn);
    if (next !== undefined) insert(due, next);
  }
  return run.view();
}

class Simulation {
  readonly #site: SimulatedSite;
  readonly #lender: Lender;
  readonly #results = new Map<number, SimulatedRequest>();
  /** When the VM of a line is to end, and when it began. */
  readonly #running = new Map<number, { readonly beganMs: number; readonly doneMs: number }>();
  #nowMs = 0;

  constructor(site: SimulatedSite, lender: Lender) {
    this.#site = site;
    this.#lender = lender;
  }

  /** Takes one turn of the borrower; the result is its next one for the same request. */
  take(turn: Turn): Turn | undefined {
    this.#letPass(turn.atMs);
    if (turn.kind === "ask") return this.#askFor(turn.line);
    if (!this.#running.has(turn.line)) return undefined;
    if (turn.kind === "end") {
      this.#say({ kind: "release", body: { id: idOf(turn.line), term: 1, reason: "done" } });
      return undefined;
    }
    const { leaseMs } = this.#requestOf(turn.line);
    this.#say({ kind: "renew", body: { term: 1, leases: [{ id: idOf(turn.line), leaseMs, wanted: "running" }] } });
    return this.#nextOf(turn.line);
  }

  view(): SimulationView {
    const results = [...this.#results.values()].sort((left, right) => left.line - right.line);
    const refused: Record<string, number> = {};
    for (const { reason } of results) if (reason !== undefined) refused[reason] = (refused[reason] ?? 0) + 1;
    const ranMs = results.reduce((total, result) => total + result.ranMs, 0);
    return {
      peer: this.#site.peering.domain,
      requests: results,
      granted: results.filter(({ verdict }) => verdict === "granted").length,
      refused,
      vmHours: Math.round((ranMs / HOUR_MS) * 1_000) / 1_000,
    };
  }

  #askFor(line: number): Turn | undefined {
    const hold = holdOf(line, this.#requestOf(line));
    const why = this.#say({ kind: "hold", body: hold });
    const { atMs, durationMs } = this.#requestOf(line);
    if (why !== undefined) {
      const verdict = why.reason === "awaiting-approval" ? "awaiting-approval" : "refused";
      this.#results.set(line, { line, atMs, verdict, reason: why.reason, message: why.message, ranMs: 0 });
      return undefined;
    }
    this.#results.set(line, { line, atMs, verdict: "granted", message: "it runs to its end", ranMs: durationMs });
    this.#running.set(line, { beganMs: this.#nowMs, doneMs: this.#nowMs + durationMs });
    this.#say({ kind: "lease", body: { id: hold.id, term: 1, leaseMs: hold.leaseMs } });
    return this.#nextOf(line);
  }

  /** Half of what is left of the lease is when it is renewed, unless its VM is done before. */
  #nextOf(line: number): Turn | undefined {
    const running = this.#running.get(line);
    const record = this.#lender.find(this.#site.peering.domain, idOf(line));
    if (running === undefined || record === undefined) return undefined;
    if (running.doneMs <= record.expiresAtMs) return { atMs: running.doneMs, kind: "end", line };
    // One that was refused its renewal asks again until its lease runs out, as a borrower does.
    return {
      atMs: this.#nowMs + Math.max(RENEW_MS_LEAST, (record.expiresAtMs - this.#nowMs) / 2),
      kind: "renew",
      line,
    };
  }

  /** Time goes on to this moment; what runs out meanwhile ends when it does. */
  #letPass(untilMs: number): void {
    for (;;) {
      const dueMs = this.#lender.nextDueMs();
      if (dueMs === undefined || dueMs > untilMs) break;
      this.#nowMs = Math.max(this.#nowMs, dueMs);
      this.#step({ kind: "tick" });
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #say(request: Extract<PeerRequest, { readonly kind: "hold" | "lease" | "renew" | "release" }>): Refusal | undefined {
    return this.#step({ kind: "request", peer: this.#site.peering.domain, ticket: 1, request });
  }

  /** Carries a step out: a VM that is to be removed is gone at once. */
  #step(event: LenderEvent): Refusal | undefined {
    let refused: Refusal | undefined;
    for (const effect of this.#lender.step(event, this.#env()).effects) {
      if (effect.kind === "refuse") refused = effect.refusal;
      if (effect.kind !== "remove") continue;
      const { id, peer } = effect.record;
      this.#ended(Number.parseInt(id.slice(-12), 16), effect.reason);
      this.#step({ kind: "vm-changed", peer, id, phase: "deleted" });
    }
    return refused;
  }

  #ended(line: number, reason: string): void {
    const running = this.#running.get(line);
    const result = this.#results.get(line);
    this.#running.delete(line);
    if (running === undefined || result === undefined) return;
    const ranMs = Math.min(running.doneMs, this.#nowMs) - running.beganMs;
    const cut = this.#nowMs < running.doneMs;
    this.#results.set(line, { ...result, ranMs, ...(cut ? { message: `it was ended early: ${reason}` } : {}) });
  }

  #requestOf(line: number): RecordedRequest {
    const request = this.#site.requests[line - 1];
    if (request === undefined) throw new RangeError(`there is no line ${line}`);
    return request;
  }

  #env(): LenderEnv {
    const { peering, siteTotal, images } = this.#site;
    const domain = peering.domain;
    const taken = sum(
      [...this.#lender.records()].flatMap(({ stage, hold }) =>
        hold !== undefined && (stage === "held" || stage === "leased") ? [resourcesOf(hold.spec)] : [],
      ),
    );
    const free = subtract(siteTotal, taken);
    return {
      nowMs: this.#nowMs,
      term: 1,
      agent: "simulation",
      peering: (name) => (name === domain ? peering : undefined),
      roomFor: (spec) => roomIn(free, spec),
      siteTotal,
      siteFree: free,
      largest: free,
      images,
      graceMs: 0,
      rememberMs: REMEMBER_MS,
    };
  }
}

function roomIn(free: Resources, spec: VmSpec): Refusal | undefined {
  const wanted = resourcesOf(spec);
  const short = lacking(free, wanted);
  if (short === undefined) return undefined;
  const message = `the site has ${free[short]} ${RESOURCE_WORDS[short]} left; the VM wants ${wanted[short]}`;
  return refusal("resource-constraint", "no-capacity", message);
}

function holdOf(line: number, { cpus, memoryMiB, diskGiB, gpus, image, leaseMs }: RecordedRequest): Hold {
  const id = idOf(line);
  const spec: VmSpec = { image, vcpus: cpus, memoryMiB, diskGiB, gpus, labels: {} };
  const content = {
    id,
    vm: id,
    name: `line-${line}`,
    project: "simulated",
    owner: "simulated",
    spec,
    leaseMs,
    hops: 1,
  };
  return { ...content, term: 1, holdMs: 30_000, digest: burstDigest(content) };
}

function idOf(line: number): string {
  return `00000000-0000-7000-8000-${line.toString(16).padStart(12, "0")}`;
}

/** Ends before new requests of the same moment: what comes free then can be had. */
const ORDER = { end: 0, renew: 1, ask: 2 } as const;

function byTime(left: Turn, right: Turn): number {
  return left.atMs - right.atMs || ORDER[left.kind] - ORDER[right.kind] || left.line - right.line;
}

function insert(due: Turn[], turn: Turn): void {
  let low = 0;
  let high = due.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const known = due[middle];
    if (known !== undefined && byTime(known, turn) <= 0) low = middle + 1;
    else high = middle;
  }
  due.splice(low, 0, turn);
}
