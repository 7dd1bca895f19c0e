/** What the shell is to do after the changes of a step are committed, in order. */
import type { BurstAnswer, PeeringAnswer, PeeringRequest, PeerRequest } from "@muster/broker";
import type {
  BalanceView,
  Command,
  EventView,
  LeaseState,
  Move,
  Refusal,
  TunnelOrder,
  UnderlayList,
} from "@muster/protocol";
import type { TunnelSide } from "../tunnels/tunnel-book.ts";
import type { Ticket } from "./event.ts";
import type { RecordChange } from "./records.ts";

/** What a waiting caller gets. Views are read from the core by id when the answer is written. */
export type Answer =
  | { readonly kind: "request"; readonly requestId: string; readonly vms: readonly string[]; readonly replay: boolean }
  | { readonly kind: "vm"; readonly vm: string }
  | { readonly kind: "host"; readonly host: string }
  | { readonly kind: "image"; readonly digest: string }
  | { readonly kind: "network"; readonly network: string }
  | { readonly kind: "balance"; readonly view: BalanceView }
  | { readonly kind: "notices-taken"; readonly sequence: number }
  | { readonly kind: "peer"; readonly peer: string }
  /** What was asked of the site as a whole is done. */
  | { readonly kind: "site" }
  /** A lease that we lend, by the id of its exchange. */
  | { readonly kind: "lease"; readonly peer: string; readonly lease: string }
  | { readonly kind: "peering"; readonly answer: PeeringAnswer }
  | { readonly kind: "burst"; readonly answer: BurstAnswer }
  | { readonly kind: "refused"; readonly refusal: Refusal };

export type CoreEffect =
  | { readonly kind: "answer"; readonly ticket: Ticket; readonly answer: Answer }
  | { readonly kind: "command"; readonly host: string; readonly command: Command }
  /** An order about the end of a tunnel; the answer comes back as `tunnel-answered` with the same side and words. */
  | {
      readonly kind: "tunnel";
      readonly side: TunnelSide;
      readonly says: string;
      readonly host: string;
      readonly order: TunnelOrder;
      readonly timeoutMs: number;
    }
  | { readonly kind: "move"; readonly host: string; readonly move: Move; readonly timeoutMs: number }
  | { readonly kind: "hello"; readonly host: string; readonly underlay?: UnderlayList }
  /** The host is told where the tunnels of all hosts end. */
  | { readonly kind: "underlay"; readonly host: string; readonly list: UnderlayList }
  /** `subjects`: with what each VM is, for those that no record may know. */
  | { readonly kind: "fetch-inventory"; readonly host: string; readonly subjects?: true }
  /** The image's content is to be fetched from its URL; asked again for what is under way already. */
  | { readonly kind: "fetch-image"; readonly digest: string }
  /** The image's content is not wanted any more. */
  | { readonly kind: "drop-image"; readonly digest: string }
  /** Account and roster entries of a host that was removed are to go. */
  | { readonly kind: "forget-host"; readonly host: string }
  | {
      readonly kind: "peer-send";
      readonly peer: string;
      readonly call: string;
      readonly request: PeerRequest;
      readonly timeoutMs: number;
    }
  /** Whom the site speaks with changed: the XMPP server is to hear the whole list. */
  | { readonly kind: "peers-changed" }
  /** Asks the peer about the peering; the outcome comes back as `peering-answer` with the same call. */
  | {
      readonly kind: "peering-send";
      readonly peer: string;
      readonly call: string;
      readonly request: PeeringRequest;
      /** Public key of ours that signs it. */
      readonly signWith: string;
      readonly timeoutMs: number;
    }
  | { readonly kind: "peer-notify"; readonly peer: string; readonly states: readonly LeaseState[] }
  /** The contact's presence may have changed: the shell reads the view and publishes it if it did. */
  | {
      readonly kind: "contact-changed";
      readonly contact: { readonly kind: "site" } | { readonly kind: "host" | "vm"; readonly id: string };
    }
  | { readonly kind: "event"; readonly event: Omit<EventView, "id" | "at"> };

/** What one event did. The shell commits `changes` of a batch of steps at once, then carries out `effects` (L3). */
export type CoreStep = { readonly changes: readonly RecordChange[]; readonly effects: readonly CoreEffect[] };
