/** Why etcd did not do what it was asked to. What matters most: whether it may have done it all the same. */
export type EtcdFault = {
  /**
   * - `unsent`: nobody took the request, or it was turned away unread: nothing happened, nothing will.
   * - `unclear`: it was sent and got no answer that says what became of it: it may have happened, or happen yet.
   * - `no-space`: etcd is done with it and says its space is used up; it may have been the last one written: read.
   * - `compacted`: the revision is no longer kept.
   * - `denied`: user, password, certificate or rights. Nothing happened.
   * - `too-large`: the answer is above the bound (S2).
   * - `refused`: etcd understood and said no. Nothing happened.
   */
  readonly kind: "unsent" | "unclear" | "no-space" | "compacted" | "denied" | "too-large" | "refused";
  readonly message: string;
};

/** What the gateway's error says, by gRPC status code (grpc.io/docs/guides/status-codes) and etcd's own text. */
export function faultOf(status: number, code: number | undefined, text: string): EtcdFault {
  const kind = kindOf(status, code, text);
  return {
    kind,
    message: `etcd says: ${text}${kind === "denied" && /CommonName/.test(text) ? COMMON_NAME_REMEDY : ""}`,
  };
}

/** With users switched on, the gateway turns certificates away that could be taken for a user. */
const COMMON_NAME_REMEDY = " (give this manager a certificate whose subject has no CN, only O)";

/** A token is kept by each member in memory and ends with it, or by age: asking for a new one helps. */
export function wantsNewToken(code: number | undefined, text: string): boolean {
  return code === 16 || /invalid auth token|revision (of auth store|in header) is old/.test(text);
}

function kindOf(status: number, code: number | undefined, text: string): EtcdFault["kind"] {
  switch (code) {
    case 3:
      return /invalid user|user name is empty|authentication failed/.test(text) ? "denied" : "refused";
    case 7:
    case 16:
      return "denied";
    case 8:
      return /space exceeded/.test(text) ? "no-space" : "unsent";
    case 11:
      return /compacted/.test(text) ? "compacted" : "refused";
    case 5:
    case 6:
    case 9:
    case 12:
      return "refused";
    default:
      // Without a code it was not etcd's core that answered, and 4xx means unread.
      if (code === undefined && status >= 400 && status < 500) return /CommonName/.test(text) ? "denied" : "refused";
      // "request timed out", "leader changed": proposed, maybe applied later.
      return "unclear";
  }
}
