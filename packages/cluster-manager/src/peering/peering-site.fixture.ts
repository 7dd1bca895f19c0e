/** One core with peerings on a virtual clock: what it stores, and what it would send to a peer that the test plays. */
import {
  createBorrower,
  createLender,
  generateSiteKey,
  type PeeringOutcome,
  type PeeringRequest,
  proofKeyOf,
  proveInvitation,
  type SiteKey,
} from "@muster/broker";
import type { Accept, PeerVerb } from "@muster/protocol";
import type { Core, SitePolicy } from "../core/core.ts";
import { createCore } from "../core/create-core.ts";
import type { Answer, CoreEffect } from "../core/effect.ts";
import type { CoreEvent } from "../core/event.ts";
import { ADMIN, POLICY } from "../core/scripted-site.fixture.ts";
import { LEND_DEFAULT, termsOf } from "./terms.ts";

export const BETA = "beta.test";
export const INVITATION = "01900000-0000-7000-8000-00000000000a";
export const SECRET = Buffer.alloc(32, 9).toString("base64url");
export const TERMS = termsOf(LEND_DEFAULT);

type Ticketless<Event> = Event extends { readonly ticket: number } ? Omit<Event, "ticket"> : never;
type Sent = Extract<CoreEffect, { readonly kind: "peering-send" }>;

export class PeeringSite {
  readonly key = generateSiteKey();
  readonly next = generateSiteKey();
  readonly afterNext = generateSiteKey();
  readonly betaKey: SiteKey = generateSiteKey();
  readonly store = new Map<string, unknown>();
  /** Questions to peers that are not answered yet. */
  readonly sent: Sent[] = [];
  doorChanges = 0;
  nowMs = 1_700_000_000_000;
  core: Core;
  readonly #policy: SitePolicy;
  #ids = 0;

  constructor(policy: Partial<SitePolicy> = {}) {
    this.#policy = { ...POLICY, ...policy };
    this.core = this.#load();
  }

  /** The manager dies, and another one reads the store. */
  restart(): void {
    this.sent.length = 0;
    this.core = this.#load();
    this.step({ kind: "tick" });
  }

  ask(event: Ticketless<CoreEvent>): Answer {
    let answer: Answer | undefined;
    for (const effect of this.step({ ...event, ticket: 1 } as CoreEvent))
      if (effect.kind === "answer") answer = effect.answer;
    if (answer === undefined) throw new Error(`${event.kind} was not answered`);
    return answer;
  }

  step(event: CoreEvent): readonly CoreEffect[] {
    const newId = (): string => {
      this.#ids += 1;
      return `01900000-0000-7000-8000-${this.#ids.toString(16).padStart(12, "0")}`;
    };
    const { changes, effects } = this.core.step(event, { nowMs: this.nowMs, newId });
    for (const change of changes)
      if (change.kind === "put") this.store.set(change.key, JSON.parse(JSON.stringify(change.value)));
      else this.store.delete(change.key);
    for (const effect of effects) {
      if (effect.kind === "peering-send") this.sent.push(effect);
      if (effect.kind === "peers-changed") this.doorChanges += 1;
    }
    return effects;
  }

  /** Time passes, with the ticks that are due. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, Math.max(this.nowMs + 1, this.core.nextDueMs(this.nowMs)));
      this.step({ kind: "tick" });
    }
  }

  /** Answers the oldest question that waits. */
  reply(outcome: PeeringOutcome): Sent {
    const question = this.sent.shift();
    if (question === undefined) throw new Error("nobody was asked anything");
    this.step({ kind: "peering-answer", peer: question.peer, call: question.call, outcome });
    return question;
  }

  invite(more: Partial<Extract<CoreEvent, { readonly kind: "peer-invite" }>> = {}): Answer {
    return this.ask({
      kind: "peer-invite",
      actor: ADMIN,
      domain: BETA,
      lend: {},
      borrow: true,
      expiresMs: 3_600_000,
      invitation: INVITATION,
      proofKey: proofKeyOf(SECRET),
      ...more,
    });
  }

  acceptance(more: Partial<Accept> & { secret?: string; acceptor?: string; inviterKey?: string } = {}): Accept {
    const { secret = SECRET, acceptor = BETA, inviterKey = this.key.publicKey, ...change } = more;
    const proof = proveInvitation(secret, {
      invitation: INVITATION,
      inviter: this.#policy.domain,
      inviterKey,
      acceptor,
      acceptorKey: this.betaKey.publicKey,
      acceptorKeySequence: 1,
    });
    const { publicKey: key } = this.betaKey;
    return { invitation: INVITATION, key, keySequence: 1, proof, lend: TERMS, borrow: true, ...change };
  }

  /** What beta says, as the door would hand it over. */
  hear(request: PeeringRequest, peer = BETA): Answer {
    return this.ask({ kind: "peering-request", peer, request });
  }

  change(verb: PeerVerb, reason?: string): Answer {
    return this.ask({ kind: "peer-change", actor: ADMIN, domain: BETA, verb, reason });
  }

  state(domain = BETA): string | undefined {
    return this.core.views.peers(this.nowMs).find((peer) => peer.domain === domain)?.state;
  }

  /** A site with an active peering that it invited to. */
  static peered(): PeeringSite {
    const site = new PeeringSite();
    site.invite();
    site.hear({ kind: "accept", body: site.acceptance() });
    return site;
  }

  #load(): Core {
    const core = createCore({
      policy: this.#policy,
      lender: createLender(),
      borrower: createBorrower(),
      ownKeys: () => [this.key.publicKey, this.next.publicKey, this.afterNext.publicKey],
    });
    core.load(JSON.parse(JSON.stringify([...this.store])));
    return core;
  }
}
