import type { BusStatus } from "./bus.ts";
import type { OutboxLink } from "./outbox.ts";
import type { ParsedElement } from "./stanza.ts";

/** Why a link ended. `refused`: the server will not have us as we are, so trying again by ourselves is no use. */
export type LinkEnd =
  | { readonly kind: "lost"; readonly reason: string }
  | {
      readonly kind: "refused";
      readonly reason: Extract<BusStatus, { kind: "refused" }>["reason"];
      readonly text: string;
    };

/** What a link tells its owner. Nothing follows `ended`. */
export type LinkListener = {
  online(link: { readonly address: string; readonly resumed: boolean }): void;
  stanza(stanza: ParsedElement): void;
  /** Something arrived: the other end lives. */
  alive(): void;
  /** Room again on the socket, or stanzas acknowledged. */
  drained(): void;
  ended(end: LinkEnd): void;
  /** Something odd that the link survived: for the log. */
  fault(where: string, error: unknown): void;
};

/** One attempt at one link: opened, online at most once, ended once. */
export type Link = OutboxLink & {
  /** Ends the stream politely; `ended` follows, or does not when the other end hangs. */
  close(): void;
  /** Ends it now, whatever state it hangs in. `ended` is not told: the caller knows. */
  destroy(): void;
};

/** Makes links, one at a time. What survives from one to the next (a resumable session) is its own affair. */
export type Connector = (listener: LinkListener) => Link;
