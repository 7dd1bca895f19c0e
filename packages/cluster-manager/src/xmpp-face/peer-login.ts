import { createHmac } from "node:crypto";
import { type Clock, err, ok, type Result, type Rng, readSecret } from "@muster/base";
import { domainOf, localOf, REACH_RESOURCE } from "@muster/protocol";
import { xmppClientBus } from "@muster/xmpp";
import type { Logger } from "pino";
import type { ClientReach } from "../peering/reach.ts";
import type { MakeLogin } from "./peer-bus.ts";

export type PeerLoginOptions = {
  readonly clock: Clock;
  readonly rng: Rng;
  /** That of `cloud.<site>`, which all managers of the site have. */
  readonly secret: string;
  readonly log: Logger;
};

/** Logs in at peers' servers as an ordinary client, always under the one resource that the leader has. */
export function peerLogin({ clock, rng, secret, log }: PeerLoginOptions): MakeLogin {
  return (reach) => {
    const { jid, service, token } = reach;
    const read = readLogin(reach, secret);
    if (!read.ok) throw new Error(read.error);
    const { password, caPem } = read.value;
    return xmppClientBus({
      clock,
      rng,
      service,
      domain: domainOf(jid),
      username: localOf(jid) ?? "",
      password,
      resource: REACH_RESOURCE,
      ...(caPem === undefined ? {} : { caPem }),
      ...(token === undefined ? {} : { enrolToken: token }),
      onFault: (where, error) =>
        log.warn({ jid, where, error: error instanceof Error ? error.message : String(error) }, "XMPP oddity"),
    });
  };
}

/** What the login needs besides, from files where the configuration names them; the error names the file. */
export function readLogin(
  { jid, passwordFile, caFile, caPem: ownCa }: ClientReach,
  secret: string,
): Result<{ readonly password: string; readonly caPem: string | undefined }, string> {
  const password = passwordFile === undefined ? ok(loginPassword(secret, jid)) : readSecret(passwordFile);
  if (!password.ok) return err(password.error.message);
  const ca = caFile === undefined ? ok(ownCa) : readSecret(caFile);
  return ca.ok ? ok({ password: password.value, caPem: ca.value }) : err(ca.error.message);
}

/**
 * The password of an account that an invitation gave us: made of the site's own secret, so that each manager of the site has
 * it and no store, backup or stanza does (S3). Another secret is another password: the account is lost then.
 */
export function loginPassword(secret: string, jid: string): string {
  return createHmac("sha256", secret).update(`muster login as ${jid}`).digest("base64url");
}
