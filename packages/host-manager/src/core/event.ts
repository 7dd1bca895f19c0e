import type {
  Capacity,
  Command,
  Hello,
  InventoryPage,
  InventoryQuery,
  Move,
  MoveState,
  Notice,
  Notices,
  Refusal,
  TunnelOrder,
  TunnelState,
  Underlay,
  UnderlayPeer,
  UnderlayTaken,
  Welcome,
} from "@muster/protocol";
import type { DomainOperation } from "../hypervisor/operation.ts";
import type { ActOutcome, DomainAction, DomainPlan, SurveyOutcome } from "../hypervisor/port.ts";
import type { MoveOrder, MoveOutcome, MoveProgress, OrderedStep } from "../move/port.ts";
import type { AttemptRecord, CommandAnswer, Head, Job, StoredAnswer } from "./state.ts";

/** Names the question an answer belongs to; made by the shell, worth nothing after it. */
export type Ticket = number;

/** What reaches the core: decoded, and from an address that may ask it. */
export type HostEvent =
  | { readonly kind: "command"; readonly ticket: Ticket; readonly command: Command }
  | { readonly kind: "move"; readonly ticket: Ticket; readonly move: Move }
  | { readonly kind: "tunnel"; readonly ticket: Ticket; readonly order: TunnelOrder }
  | { readonly kind: "hello"; readonly ticket: Ticket; readonly hello: Hello }
  | { readonly kind: "underlay"; readonly ticket: Ticket; readonly underlay: Underlay }
  | { readonly kind: "inventory"; readonly ticket: Ticket; readonly query: InventoryQuery }
  | { readonly kind: "linked" }
  | { readonly kind: "unlinked" }
  | { readonly kind: "hypervisor-up" }
  | { readonly kind: "hypervisor-down"; readonly reason: string }
  /** The hypervisor says that something changed; what, the next survey tells. */
  | { readonly kind: "hypervisor-changed" }
  | { readonly kind: "surveyed"; readonly outcome: SurveyOutcome }
  | { readonly kind: "acted"; readonly vm: string; readonly job: Job; readonly outcome: ActOutcome }
  | {
      readonly kind: "moved";
      readonly vm: string;
      readonly id: string;
      readonly step: OrderedStep;
      readonly outcome: MoveOutcome;
    }
  | { readonly kind: "move-progress"; readonly vm: string; readonly progress: MoveProgress }
  /** The leader stored a batch, up to that number; or nobody answered for it. */
  | { readonly kind: "notices-taken"; readonly batch: number; readonly sequence: number }
  | { readonly kind: "notices-unanswered"; readonly batch: number }
  /** What was left of VMs is removed; or, where it is not `done`, may still be there. */
  | { readonly kind: "discarded"; readonly vms: readonly string[]; readonly done: boolean }
  /** Time went on; something may be due. */
  | { readonly kind: "tick" };

/** What the shell must store, all of a turn in one synchronous write, before it carries out any effect. */
export type Change =
  | { readonly kind: "head"; readonly head: Head }
  | { readonly kind: "attempt"; readonly vm: string; readonly record: AttemptRecord | undefined }
  | { readonly kind: "answer"; readonly order: number; readonly answer: StoredAnswer | undefined }
  | { readonly kind: "notice"; readonly vm: string; readonly notice: Notice | undefined }
  | { readonly kind: "leftover"; readonly vm: string; readonly isLeft: boolean };

export type Answer =
  | CommandAnswer
  | { readonly kind: "welcome"; readonly welcome: Welcome }
  | { readonly kind: "underlay-taken"; readonly taken: UnderlayTaken }
  | { readonly kind: "page"; readonly page: InventoryPage }
  | { readonly kind: "moved"; readonly state: MoveState }
  | { readonly kind: "tunnelled"; readonly state: TunnelState }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** What the shell must do, in order, once the changes are stored. */
export type Effect =
  | { readonly kind: "answer"; readonly ticket: Ticket; readonly answer: Answer }
  | { readonly kind: "start"; readonly vm: string; readonly job: Job; readonly plan: DomainPlan }
  | { readonly kind: "act"; readonly vm: string; readonly job: Job; readonly action: DomainAction }
  | { readonly kind: "operate"; readonly vm: string; readonly job: Job; readonly operation: DomainOperation }
  /** A guest that is being asked to stop is to end at once. */
  | { readonly kind: "hurry"; readonly vm: string }
  /** A VM that is being started is to be deleted: its start waits for nothing any more. */
  | { readonly kind: "give-up"; readonly vm: string }
  /** What is left of VMs whose end was no order to the hypervisor; and what crashes left of VMs that are not known any more. */
  | { readonly kind: "discard"; readonly vms: readonly string[] }
  | { readonly kind: "tidy"; readonly known: ReadonlySet<string> }
  | { readonly kind: "move-step"; readonly id: string; readonly order: MoveOrder }
  | { readonly kind: "move-cancel"; readonly vm: string }
  /** Carried out and answered by what keeps the tunnels, with notes of its own (H2). */
  | { readonly kind: "tunnel"; readonly ticket: Ticket; readonly order: TunnelOrder }
  | { readonly kind: "move-progress"; readonly vm: string }
  | { readonly kind: "survey" }
  | { readonly kind: "learn-underlay"; readonly peers: readonly UnderlayPeer[] }
  | { readonly kind: "report"; readonly capacity: Capacity }
  /** `batch` names the sending, for what comes back of it. */
  | { readonly kind: "notify"; readonly batch: number; readonly notices: Notices }
  /** For people: the shell logs it. */
  | { readonly kind: "log"; readonly level: "info" | "warn"; readonly text: string; readonly vm?: string };

/** What a turn comes with from outside. */
export type Environment = { readonly nowMs: number };
