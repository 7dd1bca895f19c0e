/** A moment at which a process writes or sends, and can end: what crashes at write points are drawn and aimed at. */
import type { CoreEffect, CoreEvent, RecordChange } from "@muster/cluster-manager";
import type { Change, Effect, HostEvent } from "@muster/host-manager";
import type { HostNode } from "./host-node.ts";
import type { Lead } from "./lead.ts";

/** Around one commit of a leader. */
export type LeaderMoment = {
  readonly where: "before-commit" | "after-commit" | "between-effects";
  readonly lead: Lead;
  readonly events: readonly CoreEvent[];
  readonly changes: readonly RecordChange[];
  readonly effects: readonly CoreEffect[];
  /** How many of the effects are out. */
  readonly done: number;
};

/** Around one turn of a host manager. */
export type HostMoment = {
  readonly where: "host-before-store" | "host-after-store" | "host-between-effects";
  readonly host: HostNode;
  readonly event: HostEvent;
  readonly changes: readonly Change[];
  readonly effects: readonly Effect[];
  readonly done: number;
};

export type Moment = LeaderMoment | HostMoment;
