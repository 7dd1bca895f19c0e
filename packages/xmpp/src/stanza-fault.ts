import { Element } from "ltx";

/** A stanza error (RFC 6120 section 8.3) with Muster's own reason beside the standard condition. */
export type StanzaFaultType = "auth" | "cancel" | "continue" | "modify" | "wait";

/** The defined conditions (RFC 6120 section 8.3.3). */
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

const NS_STANZA_ERROR = "urn:ietf:params:xml:ns:xmpp-stanzas";

/** People read it; nobody needs more, and a peer decides how long it is. */
const TEXT_LENGTH_MAX = 1000;

/** Default type for each condition (RFC 6120 section 8.3.3), for faults made from a condition and a sentence. */
const TYPE_OF: Readonly<Record<StanzaCondition, StanzaFaultType>> = {
  "bad-request": "modify",
  conflict: "cancel",
  "feature-not-implemented": "cancel",
  forbidden: "auth",
  gone: "cancel",
  "internal-server-error": "cancel",
  "item-not-found": "cancel",
  "jid-malformed": "modify",
  "not-acceptable": "modify",
  "not-allowed": "cancel",
  "not-authorized": "auth",
  "payment-required": "auth",
  "policy-violation": "modify",
  "recipient-unavailable": "wait",
  redirect: "modify",
  "registration-required": "auth",
  "remote-server-not-found": "cancel",
  "remote-server-timeout": "wait",
  "resource-constraint": "wait",
  "service-unavailable": "cancel",
  "subscription-required": "auth",
  "undefined-condition": "cancel",
  "unexpected-request": "wait",
};

/** A fault of this condition, of the type the RFC gives it. */
export function stanzaFault(condition: StanzaCondition, text?: string, application?: Element): StanzaFault {
  return {
    type: TYPE_OF[condition],
    condition,
    ...(text === undefined ? {} : { text }),
    ...(application === undefined ? {} : { application }),
  };
}

/** The `<error/>` child that carries a fault. */
export function encodeStanzaFault(fault: StanzaFault): Element {
  const error = new Element("error", { type: fault.type });
  error.c(fault.condition, { xmlns: NS_STANZA_ERROR });
  if (fault.text !== undefined) {
    error.c("text", { xmlns: NS_STANZA_ERROR, "xml:lang": "en" }).t(fault.text.slice(0, TEXT_LENGTH_MAX));
  }
  if (fault.application !== undefined) error.append(fault.application);
  return error;
}

/**
 * Reads the `<error/>` child of a stanza. Never fails: what a peer leaves out or invents becomes
 * `undefined-condition` and `cancel`, so that an error is always an answer.
 */
export function decodeStanzaFault(stanza: Element): StanzaFault {
  const children = stanza.getChild("error")?.getChildElements() ?? [];
  const standard = children.filter((child) => child.getNS() === NS_STANZA_ERROR);
  const named = standard.map((child) => child.getName()).find(isCondition);
  const condition = named ?? "undefined-condition";
  const written = stanza.getChild("error")?.attrs.type;
  const type = isFaultType(written) ? written : TYPE_OF[condition];
  const text = standard
    .find((child) => child.getName() === "text")
    ?.getText()
    .slice(0, TEXT_LENGTH_MAX);
  const application = children.find((child) => child.getNS() !== NS_STANZA_ERROR);
  return {
    type,
    condition,
    ...(text === undefined || text === "" ? {} : { text }),
    ...(application === undefined ? {} : { application }),
  };
}

function isCondition(name: string): name is StanzaCondition {
  return Object.hasOwn(TYPE_OF, name);
}

function isFaultType(text: string | undefined): text is StanzaFaultType {
  return text === "auth" || text === "cancel" || text === "continue" || text === "modify" || text === "wait";
}
