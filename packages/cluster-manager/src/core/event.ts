/** Everything that can happen to the leader's core, decoded and authorised at the border (S1). */
import type { BurstNotice, BurstOutcome, PeerRequest } from "@muster/broker";
import type {
  Capacity,
  CommandOutcome,
  DrainPolicy,
  ListedVm,
  MoveState,
  MoveStep,
  Notice,
  Refusal,
  TunnelState,
  VmAction,
  VmCreate,
  VmOperation,
  Welcome,
} from "@muster/protocol";
import type { ImageEvent } from "../images/image-event.ts";
import type { NetworkEvent } from "../networks/network-event.ts";
import type { MaintenanceEvent } from "../peering/maintenance.ts";
import type { PeeringEvent } from "../peering/peering-event.ts";
import type { TunnelSide } from "../tunnels/tunnel-book.ts";

/** Who asks. `admin` may do everything, `user` works within its projects, `viewer` only reads. */
export type Actor = {
  readonly user: string;
  readonly role: "admin" | "user" | "viewer";
  /** Projects it may act in; `"*"` for all. */
  readonly projects: readonly string[];
  /** May read all records of the site at once, whatever its role. */
  readonly backup?: true;
};

/** Names the waiting caller; the core's `answer` effect carries it back. */
export type Ticket = number;

export type CoreEvent =
  | MaintenanceEvent
  | {
      readonly kind: "request";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly requestId: string;
      readonly create: VmCreate;
    }
  | {
      readonly kind: "vm-action";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly vm: string;
      readonly action: VmAction;
      /** With `stop`: the guest is not asked, but cut off. */
      readonly force?: boolean;
    }
  | {
      readonly kind: "vm-operation";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly vm: string;
      /** The same key is the same operation (B1). */
      readonly key: string;
      readonly operation: VmOperation;
    }
  | {
      readonly kind: "vm-move";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly vm: string;
      /** To that host, or the best one; `cancel` ends a move that is under way. */
      readonly wish:
        | {
            readonly kind: "begin";
            readonly to?: string | undefined;
            /** To this peer, alive. */
            readonly peer?: string | undefined;
            /** From the peer at which it runs, to `to` or the best host. */
            readonly home?: true | undefined;
          }
        | { readonly kind: "cancel"; readonly to?: undefined };
    }
  | { readonly kind: "vm-delete"; readonly ticket: Ticket; readonly actor: Actor; readonly vm: string }
  | {
      readonly kind: "host-add";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly host: string;
      /** By the configuration at a start, which does not bring back what an admin removed. */
      readonly configured?: boolean;
    }
  | {
      readonly kind: "host-drain";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly host: string;
      readonly draining: boolean;
      readonly policy?: DrainPolicy;
    }
  | {
      readonly kind: "site-balance";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly dryRun: boolean;
      readonly movesMax: number;
    }
  /** An admin vouches that the host is dead: its attempts are over (P1). */
  | { readonly kind: "host-fence"; readonly ticket: Ticket; readonly actor: Actor; readonly host: string }
  | { readonly kind: "host-remove"; readonly ticket: Ticket; readonly actor: Actor; readonly host: string }
  /** An admin approves or denies a hold of a peer; `peer` where the id alone is ambiguous. */
  | {
      readonly kind: "lease-decide";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly lease: string;
      readonly peer?: string | undefined;
      readonly approve: boolean;
      readonly reason?: string | undefined;
    }
  /** An admin ends a lease that we lend. */
  | {
      readonly kind: "lease-revoke";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly lease: string;
      readonly peer?: string | undefined;
      readonly noticeMs: number;
      readonly reason: string;
    }
  | ImageEvent
  | NetworkEvent
  | PeeringEvent
  | { readonly kind: "host-capacity"; readonly host: string; readonly capacity: Capacity }
  | { readonly kind: "host-unavailable"; readonly host: string }
  | { readonly kind: "host-welcome"; readonly host: string; readonly welcome: Welcome }
  /** The host goes by that list of tunnels' ends now. */
  | { readonly kind: "host-underlay"; readonly host: string; readonly generation: number }
  /** The whole list of one host, all pages of one revision. */
  | {
      readonly kind: "host-inventory";
      readonly host: string;
      readonly bootId: string;
      readonly digest: string;
      readonly vms: readonly ListedVm[];
    }
  /** The host refused our term: it has obeyed a higher one (H1). */
  | { readonly kind: "host-stale"; readonly host: string }
  | {
      readonly kind: "host-notices";
      readonly ticket: Ticket;
      readonly host: string;
      readonly bootId: string;
      readonly notices: readonly Notice[];
    }
  | {
      readonly kind: "move-answered";
      readonly host: string;
      readonly vm: string;
      readonly id: string;
      readonly step: MoveStep;
      readonly end:
        | { readonly kind: "state"; readonly state: MoveState }
        | { readonly kind: "refused"; readonly refusal: Refusal }
        | { readonly kind: "unknown" };
    }
  | {
      readonly kind: "tunnel-answered";
      readonly side: TunnelSide;
      readonly says: string;
      readonly host: string;
      readonly end:
        | { readonly kind: "state"; readonly state: TunnelState }
        | { readonly kind: "refused"; readonly refusal: Refusal }
        | { readonly kind: "unknown" };
    }
  | { readonly kind: "command-ended"; readonly host: string; readonly command: string; readonly end: CommandEnd }
  | { readonly kind: "peer-request"; readonly ticket: Ticket; readonly peer: string; readonly request: PeerRequest }
  | { readonly kind: "peer-answer"; readonly peer: string; readonly call: string; readonly outcome: BurstOutcome }
  | { readonly kind: "peer-notice"; readonly peer: string; readonly notice: BurstNotice }
  /** The site's XMPP link went away or came back: nobody is declared dead for our own silence. */
  | { readonly kind: "link"; readonly online: boolean }
  | { readonly kind: "tick" };

/** How a command to a host ended. `unknown`: it may have acted; the same command is sent again under the same id (H2). */
export type CommandEnd =
  | { readonly kind: "outcome"; readonly outcome: CommandOutcome }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "unknown" };
