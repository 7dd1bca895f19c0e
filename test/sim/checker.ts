/** A checker looks at what happens, step by step, and throws `Violation` where its invariant does not hold. */
import type { CoreEffect, CoreEvent } from "@muster/cluster-manager";
import type { Change, Effect, HostEvent, HostState } from "@muster/host-manager";
import type { VmCreate } from "@muster/protocol";
import type { Answer } from "./core-words.ts";
import type { DomainChange } from "./domain.ts";
import type { HostNode } from "./host-node.ts";
import type { Lead } from "./manager-node.ts";
import type { Kept } from "./site-store.ts";
import type { World } from "./world.ts";

export type HostTurn = {
  readonly host: HostNode;
  readonly before: HostState;
  readonly after: HostState;
  readonly events: readonly HostEvent[];
  readonly changes: readonly Change[];
  readonly effects: readonly Effect[];
};

export type Checker = {
  /** A manager leads from now on. */
  onLead?(lead: Lead): void;
  /** It learned that it leads no more. */
  onDeposed?(lead: Lead): void;
  onEvent?(lead: Lead, event: CoreEvent): void;
  /** A commit changed the store; `cause` is what the batch was about. */
  onCommit?(lead: Lead, kept: readonly Kept[], cause: readonly CoreEvent[]): void;
  /** Something leaves the manager. */
  onEffect?(lead: Lead, effect: CoreEffect, cause: CoreEvent | undefined): void;
  /** The leader took what this key of the peer signed. */
  onOpened?(lead: Lead, peer: string, key: string): void;
  onHostTurn?(turn: HostTurn): void;
  /** An effect of a host leaves it, or reaches its hypervisor. */
  onHostEffect?(host: HostNode, effect: Effect): void;
  /** The disk of a host is new: all that its host manager had stored is gone. */
  onJournalLost?(host: HostNode): void;
  onDomain?(host: HostNode, change: DomainChange): void;
  /** A user heard an answer. */
  onUserAnswer?(site: string, requestId: string, create: VmCreate, answer: Answer): void;
  /** Every second of virtual time. */
  onPulse?(): void;
  /** After faults stopped and time passed. */
  atEnd?(): void;
};

export type MakeChecker = (world: World) => Checker;
