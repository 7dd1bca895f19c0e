/** Two scripted sites that are peers, for tests: alpha borrows with one host, beta lends with two. */
import { seededRng } from "@muster/base";
import {
  type BurstOutcome,
  createLedger,
  generateSiteKey,
  type LedgerTiming,
  type Peering,
  type PeerRequest,
} from "@muster/broker";
import type { SitePolicy } from "./core.ts";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { peering, ScriptedSite } from "./scripted-site.fixture.ts";

export const ALPHA = "alpha.test";
export const BETA = "beta.test";

/** Keys of the two sites, by domain. */
export const SITE_KEYS = { [ALPHA]: generateSiteKey(), [BETA]: generateSiteKey() } as const;
/** Receipts often enough to be seen in a test. */
export const LEDGER_PACE: Partial<LedgerTiming> = { everyMs: 20_000, toleranceMs: 5_000 };

/** Two sites that carry each other's burst messages; `cut` loses them all. */
export class Federation {
  readonly alpha: ScriptedSite;
  readonly beta: ScriptedSite;
  cut = false;
  /** Chance that a question or its answer between the sites is lost, or a question comes twice. */
  loss = 0;
  duplicates = 0;
  readonly #rng;

  constructor(seed = 1, policies: { readonly alpha?: Partial<SitePolicy>; readonly beta?: Partial<SitePolicy> } = {}) {
    this.#rng = seededRng(seed);
    this.alpha = new ScriptedSite({
      policy: { peerings: [peeringWith(BETA)], ...policies.alpha },
      ledger: () => createLedger({ domain: ALPHA, keys: () => [SITE_KEYS[ALPHA]], timing: LEDGER_PACE }),
      hosts: [new ScriptedHost("h1")],
      seed: seed + 1_000,
    });
    this.beta = new ScriptedSite({
      policy: { domain: BETA, peerings: [peeringWith(ALPHA)], ...policies.beta },
      ledger: () => createLedger({ domain: BETA, keys: () => [SITE_KEYS[BETA]], timing: LEDGER_PACE }),
      hosts: [new ScriptedHost("k1"), new ScriptedHost("k2")],
      seed: seed + 2_000,
    });
  }

  exchange(): void {
    for (let rounds = 0; rounds < 50; rounds += 1) {
      const moved = this.#carry(this.alpha, ALPHA, this.beta) + this.#carry(this.beta, BETA, this.alpha);
      this.alpha.flow();
      this.beta.flow();
      if (moved === 0) return;
    }
    throw new Error("the federation does not come to rest");
  }

  #carry(from: ScriptedSite, domain: string, to: ScriptedSite): number {
    const messages = from.outward.splice(0);
    for (const message of messages) {
      if (message.kind === "peer-send") {
        const { peer, call } = message;
        from.step({ kind: "peer-answer", peer, call, outcome: this.#ask(to, domain, message.request) });
      } else if (message.kind === "peer-notify" && !this.#lost()) {
        to.step({ kind: "peer-notice", peer: domain, notice: { states: message.states } });
      }
    }
    return messages.length;
  }

  #ask(to: ScriptedSite, domain: string, request: PeerRequest): BurstOutcome {
    if (this.#lost()) return { kind: "unknown" };
    const ask = () => {
      const given = to.ask({ kind: "peer-request", peer: domain, request });
      if (given !== undefined) return given;
      // One of its hosts has to be asked first.
      const ticket = to.lastTicket;
      to.flow();
      return to.answers.get(ticket);
    };
    const answer = ask();
    if (this.duplicates > 0 && this.#rng.next() < this.duplicates) ask();
    if (this.#lost()) return { kind: "unknown" };
    if (answer?.kind === "burst") return { kind: "answered", answer: answer.answer };
    return answer?.kind === "refused" ? { kind: "refused", refusal: answer.refusal } : { kind: "unknown" };
  }

  #lost(): boolean {
    return this.cut || (this.loss > 0 && this.#rng.next() < this.loss);
  }

  advance(durationMs: number): void {
    for (let passed = 0; passed < durationMs; passed += 500) {
      this.alpha.advance(500);
      this.beta.advance(500);
      this.exchange();
    }
  }
}

/** A peering with prices: 1 unit a vCPU-hour, a quarter a GiB-hour. */
function peeringWith(domain: typeof ALPHA | typeof BETA): Peering {
  const plain = peering(domain, { publicKey: SITE_KEYS[domain].publicKey });
  return { ...plain, lend: { ...plain.lend, prices: { vcpuHour: 1_000, memoryGiBHour: 250, gpuHour: 0 } } };
}
