import type { TunnelOrder } from "@muster/protocol";

/** What is to be said to a host about one end now. */
export type TunnelAsk = { readonly host: string; readonly order: TunnelOrder };

/** What is to be done about one end. */
export type TunnelStep =
  /** There is nothing of it, and nothing is to be. */
  | { readonly kind: "none" }
  /** It is as it is to be, or waits. */
  | { readonly kind: "rest" }
  | { readonly kind: "ask"; readonly ask: TunnelAsk }
  /** No gateway can. */
  | { readonly kind: "failed"; readonly reason: string };

/** What an order says, apart from who says it and for how long it is to hold. */
export function saysOf({ term: _, keepMs: __, ...content }: TunnelOrder): string {
  return JSON.stringify(content);
}
