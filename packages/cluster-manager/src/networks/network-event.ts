import type { NetworkCreate } from "@muster/protocol";
import type { Actor, Ticket } from "../core/event.ts";

/** What admins do with networks. */
export type NetworkEvent =
  | { readonly kind: "network-create"; readonly ticket: Ticket; readonly actor: Actor; readonly create: NetworkCreate }
  | { readonly kind: "network-delete"; readonly ticket: Ticket; readonly actor: Actor; readonly network: string };
