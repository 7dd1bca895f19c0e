/** A stanza error (RFC 6120 section 8.3) with Muster's own reason beside the standard condition. */
export type StanzaFaultType = "auth" | "cancel" | "continue" | "modify" | "wait";

export type StanzaCondition =
  | "bad-request"
  | "conflict"
  | "feature-not-implemented"
  | "forbidden"
  | "gone"
  | "internal-server-error"
  | "item-not-found"
  | "jid-malformed"
  | "not-acceptable"
  | "not-allowed"
  | "not-authorized"
  | "payment-required"
  | "policy-violation"
  | "recipient-unavailable"
  | "redirect"
  | "registration-required"
  | "remote-server-not-found"
  | "remote-server-timeout"
  | "resource-constraint"
  | "service-unavailable"
  | "subscription-required"
  | "undefined-condition"
  | "unexpected-request";

export type StanzaFault = {
  readonly type: StanzaFaultType;
  readonly condition: StanzaCondition;
  /** Human sentence. */
  readonly text?: string;
  /** Application-specific child `<refusal xmlns="urn:muster:refusal:1" .../>`, decoded by `@muster/protocol`. */
  readonly application?: import("ltx").Element;
};
