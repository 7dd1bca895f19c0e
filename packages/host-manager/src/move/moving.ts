import type { MoveState } from "@muster/protocol";
import type { MoveProgress, OrderedStep } from "./port.ts";

/** Which part this host has in the move of a VM; in the journal, so that nothing else is done to the VM meanwhile (P1). */
export type MoveMark = {
  readonly id: string;
  readonly role: "source" | "destination";
  /** At the destination: the guest may have come to run here, and then it does not go on at the source. */
  readonly finishing?: boolean | undefined;
};

/** A question about a step that is not answered before the step has ended or the time is over. */
export type MoveWaiter = {
  readonly ticket: number;
  readonly step: OrderedStep;
  readonly dueMs: number;
  /** Under which it was asked: whoever leads no more by the end of it hears that, and nothing else (H1). */
  readonly term: number;
};

/** What is known of a move as long as this process lives: what its steps yielded cannot be had again. */
export type Moving = {
  readonly id: string;
  readonly underway: OrderedStep | undefined;
  /** `finish` was handed to the hypervisor: whether the guest runs here, only its outcome or a survey can tell. */
  readonly finishing: boolean;
  readonly results: ReadonlyMap<OrderedStep, MoveState>;
  readonly waiters: readonly MoveWaiter[];
  readonly progress: MoveProgress | undefined;
};

/** Questions that one move keeps open at the same time; the oldest is answered early for the next (S2). */
const WAITERS_MAX = 4;

/** Moves of one attempt that are remembered as over (S2): as many as could still be on their way. */
const OVER_KEPT = 4;

/** The record with this move remembered as over: a `begin` of it that arrives late has no effect (B3). */
export function withMoveOver<Kept extends { readonly movesOver?: readonly string[] }>(record: Kept, id: string): Kept {
  const { movesOver = [] } = record;
  return movesOver.includes(id) ? record : { ...record, movesOver: [...movesOver, id].slice(-OVER_KEPT) };
}

export function newMoving(id: string): Moving {
  return { id, underway: undefined, finishing: false, results: new Map(), waiters: [], progress: undefined };
}

/** The move with one question more; `early` is the one that has to be answered now for it. */
export function withWaiter(moving: Moving, waiter: MoveWaiter): { moving: Moving; early: MoveWaiter | undefined } {
  const waiters = [...moving.waiters, waiter];
  const early = waiters.length > WAITERS_MAX ? waiters.shift() : undefined;
  return { moving: { ...moving, waiters }, early };
}

/** How the step stands. */
export function stateAt(moving: Moving, step: OrderedStep): MoveState {
  return moving.results.get(step) ?? { id: moving.id, stage: "underway", ...moving.progress };
}
