import type { ImageAdd } from "@muster/protocol";
import type { Actor, Ticket } from "../core/event.ts";
import type { ImageContent } from "./image-record.ts";

export type ImageChange =
  | { readonly kind: "approve" }
  | { readonly kind: "withdraw" }
  | { readonly kind: "remove" }
  | { readonly kind: "tag"; readonly tag: string };

/** What users and admins do with images, and what the shell found of their content. */
export type ImageEvent =
  | { readonly kind: "image-add"; readonly ticket: Ticket; readonly actor: Actor; readonly add: ImageAdd }
  | {
      readonly kind: "image-change";
      readonly ticket: Ticket;
      readonly actor: Actor;
      readonly image: string;
      readonly change: ImageChange;
    }
  | {
      readonly kind: "image-content";
      readonly ticket: Ticket;
      readonly digest: string;
      readonly content: ImageContent;
    };
