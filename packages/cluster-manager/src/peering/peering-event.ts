import type { Offence, PeeringOutcome, PeeringRequest } from "@muster/broker";
import type { Invitation, LendChange, PeerVerb, SitePresence } from "@muster/protocol";
import type { Actor, Ticket } from "../core/event.ts";

/** What admins do with peerings, and what peers say about them. */
export type PeeringEvent =
  | {
      readonly kind: "peer-invite";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly domain: string;
      readonly lend: LendChange;
      readonly borrow: boolean;
      readonly expiresMs: number;
      readonly invitation: string;
      /** Public half of the invitation's secret. */
      readonly proofKey: string;
      /** The invited site is to come as an account of our server. */
      readonly asAccount?: boolean;
    }
  | {
      readonly kind: "peer-accept";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly invitation: Invitation;
      readonly lend: LendChange;
      readonly borrow: boolean;
      /** Only says what would be agreed to. */
      readonly dryRun: boolean;
    }
  | {
      readonly kind: "peer-change";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly domain: string;
      readonly verb: PeerVerb;
      readonly reason?: string | undefined;
    }
  | {
      readonly kind: "peer-policy";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly domain: string;
      readonly lend: LendChange;
      readonly borrow?: boolean | undefined;
    }
  | {
      readonly kind: "key-rotate";
      readonly ticket: Ticket;
      readonly actor: Actor;
      /** Public keys in the site's key file as it is now, in order. */
      readonly keys: readonly string[];
      readonly overlapMs: number;
      /** Number that the next key is to have, so that a retry rotates once. */
      readonly sequence?: number | undefined;
    }
  /** Verified: signed by the key pinned for the domain, or for `accept` by the key that it carries. */
  | {
      readonly kind: "peering-request";
      readonly ticket: Ticket;
      readonly peer: string;
      readonly request: PeeringRequest;
    }
  /** What the peer shows of itself; absent: nothing any more. */
  | { readonly kind: "peer-presence"; readonly peer: string; readonly presence: SitePresence | undefined }
  /** Something of a peer was refused at the door, `count` times since the last word. */
  | {
      readonly kind: "peer-offence";
      readonly peer: string;
      readonly offence: Offence;
      readonly message: string;
      readonly count: number;
    }
  | { readonly kind: "peering-answer"; readonly peer: string; readonly call: string; readonly outcome: PeeringOutcome };
