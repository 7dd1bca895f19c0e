import { expect } from "vitest";
import { holdOf, lenderEnv, newId, PEERING, POLICY } from "../broker.fixture.ts";
import type { BurstAnswer, BurstRequest } from "../burst-message.ts";
import { createLender } from "./lender.ts";
import type { Lender, LenderEffect, LenderEnv, LendRecord } from "./lender-contract.ts";

export const NOW = 100_000;
export const PEER = "alpha.test";

type Reply = {
  readonly answer: BurstAnswer | undefined;
  readonly refusal: unknown;
  readonly effects: readonly LenderEffect[];
};

export function ask(lender: Lender, request: BurstRequest, part: Partial<LenderEnv> = {}): Reply {
  const { effects } = lender.step({ kind: "request", peer: PEER, ticket: 7, request }, env(part));
  const replies = effects.filter(({ kind }) => kind === "answer" || kind === "refuse");
  expect(replies).toHaveLength(1);
  const [reply] = replies;
  return {
    answer: reply?.kind === "answer" ? reply.answer : undefined,
    refusal: reply?.kind === "refuse" ? reply.refusal : undefined,
    effects,
  };
}

export function heldOf({ answer }: Reply): { readonly id: string; readonly remainingMs: number } {
  if (answer?.kind !== "held") throw new Error(`not held but ${answer?.kind}`);
  return answer.body;
}

export function held(lender: Lender): string {
  return heldOf(ask(lender, { kind: "hold", body: holdOf() })).id;
}

export function leased(lender: Lender): string {
  const id = held(lender);
  ask(lender, lease(id));
  return id;
}

export function restart(lender: Lender): Lender {
  const restarted = createLender();
  restarted.load(structuredClone([...lender.records()]));
  return restarted;
}

export function tick(lender: Lender, part: Partial<LenderEnv> = {}) {
  return lender.step({ kind: "tick" }, env(part));
}

export function vmChanged(lender: Lender, id: string, phase: "running" | "deleted") {
  return lender.step({ kind: "vm-changed", peer: PEER, id, phase }, env());
}

export function env(part: Partial<LenderEnv> = {}): LenderEnv {
  return lenderEnv({ nowMs: NOW, ...part });
}

export function withPolicy(part: Partial<typeof POLICY>): Partial<LenderEnv> {
  return withPeering({ lend: { ...POLICY, ...part } });
}

export function withPeering(part: Partial<typeof PEERING>): Partial<LenderEnv> {
  return { peering: (domain) => ({ ...PEERING, domain, ...part }) };
}

export function lease(id: string): BurstRequest {
  return { kind: "lease", body: { id, term: 1, leaseMs: 60_000 } };
}

export function renew(id: string, wanted: "running" | "paused" = "running"): BurstRequest {
  return { kind: "renew", body: { term: 1, leases: [{ id, leaseMs: 60_000, wanted }] } };
}

export function release(id: string, term = 1): BurstRequest {
  return { kind: "release", body: { id, term, reason: "not wanted" } };
}

export function pull(since: number, max = 50): BurstRequest {
  return { kind: "pull", body: { since, max } };
}

export function offerQuery(): BurstRequest {
  return { kind: "offer-query", body: { term: 1 } };
}

export function tombstone(revision: number): LendRecord {
  const base = { peer: PEER, digest: "", stage: "voided", leaseMs: 0, expiresAtMs: NOW, renewals: 0 } as const;
  return { ...base, id: newId(), revision, changedAtMs: NOW };
}
