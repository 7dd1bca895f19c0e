import { err, ok, type Result } from "@muster/base";
import {
  cloudAddress,
  type Enrolment,
  encodeJoinBundle,
  hostAccount,
  localOf,
  NS_ENROL,
  type Refusal,
  refusal,
} from "@muster/protocol";
import type { IqOutcome } from "@muster/xmpp";
import { Element } from "ltx";
import type { FaceContext } from "./face-context.ts";
import { refusalIn } from "./refusal-fault.ts";

const TIMEOUT_MS = 5_000;

/** What this site tells a new host beside its token. */
export type EnrolmentTerms = {
  /** Where hosts reach the XMPP server: `xmpps://<host>:<port>`. */
  readonly service: string;
  /** Certificates (PEM) that sign the server's; absent where every system knows them. */
  readonly caPem?: string;
  /** How long a token waits for its host when nobody says. */
  readonly ttlSeconds: number;
};

/** A token of the XMPP server for one host's account. */
export type HostToken = Omit<Enrolment, "command">;

/** Where the configuration says nothing: the registered port of the site's domain, certificates known to systems. */
export function defaultTerms(domain: string): EnrolmentTerms {
  return { service: `xmpps://${domain}:5223`, ttlSeconds: 3_600 };
}

/** The token together with the one command to run on the host. */
export function enrolmentBy(token: HostToken, domain: string, { service, caPem }: EnrolmentTerms): Enrolment {
  const ca = caPem === undefined ? {} : { ca: caPem };
  const bundle = encodeJoinBundle({ v: 1, site: domain, name: token.name, service, token: token.token, ...ca });
  return { ...token, command: `muster host join ${bundle}` };
}

/** Asks the site's XMPP server for a single-use token of this host's account; it allows one registration and nothing else. */
export async function enrolHost(
  context: FaceContext,
  host: string,
  ttlSeconds: number,
): Promise<Result<HostToken, Refusal>> {
  const account = hostAccount(host, context.domain);
  const outcome = await askForToken(context, account, ttlSeconds);
  if (outcome.kind !== "result") return err(enrolRefusal(host, outcome));
  const given = tokenIn(outcome);
  return given.ok ? ok({ name: host, account, ...given.value }) : given;
}

/**
 * A single-use token for an account as which a peer is to come. One of that name, left by an earlier peering, is taken away
 * first, with its sessions.
 */
export async function enrolPartner(
  context: FaceContext,
  account: string,
  ttlSeconds: number,
): Promise<Result<string, Refusal>> {
  let outcome = await askForToken(context, account, ttlSeconds);
  if (outcome.kind === "error" && outcome.fault.condition === "conflict") {
    await revokeAccount(context, account);
    outcome = await askForToken(context, account, ttlSeconds);
  }
  if (outcome.kind !== "result") return err(enrolRefusal(account, outcome));
  const given = tokenIn(outcome);
  return given.ok ? ok(given.value.token) : given;
}

function askForToken(context: FaceContext, account: string, ttlSeconds: number): Promise<IqOutcome> {
  const asked = { xmlns: NS_ENROL, account: localOf(account), "ttl-seconds": ttlSeconds };
  return ask(context, new Element("enrol", asked));
}

function tokenIn(
  outcome: Extract<IqOutcome, { readonly kind: "result" }>,
): Result<Pick<HostToken, "token" | "expiresSeconds">, Refusal> {
  const { token, "expires-seconds": expires } = outcome.payload?.attrs ?? {};
  if (token === undefined || expires === undefined || !/^\d{1,9}$/.test(expires))
    return err(refusal("internal", "enrolment-unreadable", "the XMPP server's answer to the enrolment cannot be read"));
  return ok({ token, expiresSeconds: Number(expires) });
}

/** Takes the account of a host away, with its tokens and sessions. Repeating it does no harm. */
export async function revokeHost(context: FaceContext, host: string): Promise<void> {
  const account = localOf(hostAccount(host, context.domain));
  const outcome = await ask(context, new Element("revoke", { xmlns: NS_ENROL, account }));
  if (outcome.kind !== "result")
    context.log.warn(
      { host, outcome: outcome.kind },
      "the account of a removed host could not be deleted; remove it by hand",
    );
}

/** The same for any account of our server. */
export async function revokeAccount(context: FaceContext, account: string): Promise<void> {
  const outcome = await ask(context, new Element("revoke", { xmlns: NS_ENROL, account: localOf(account) }));
  if (outcome.kind !== "result")
    context.log.warn(
      { account, outcome: outcome.kind },
      "the account of a peer that is no peer any more could not be deleted; remove it by hand",
    );
}

function ask(context: FaceContext, payload: Element): Promise<IqOutcome> {
  const { bus, domain } = context;
  return bus.request({ to: domain, from: cloudAddress(domain), type: "set", payload, timeoutMs: TIMEOUT_MS });
}

function enrolRefusal(host: string, outcome: Exclude<IqOutcome, { readonly kind: "result" }>): Refusal {
  if (outcome.kind === "error") {
    const said = refusalIn(outcome.fault);
    if (said !== undefined) return said;
    if (outcome.fault.condition === "conflict") {
      const message = `host ${host} has an account already; remove the host first, then enrol it anew`;
      return refusal("conflict", "already-enrolled", message, { field: "name" });
    }
    const { condition } = outcome.fault;
    const message =
      `the XMPP server does not hand out enrolment tokens (${condition}): it needs mod_muster_enrol; on a server without ` +
      "it make the account by hand";
    // A server that does not know the question does not learn it by being asked again.
    const isUnknown = condition === "service-unavailable" || condition === "feature-not-implemented";
    return refusal(isUnknown ? "not-acceptable" : "unavailable", "enrolment-refused", message);
  }
  const message = "the XMPP server did not answer; the host may be enrolled again in a moment";
  return refusal("unavailable", "server-unreachable", message, { retryAfterMs: 2_000 });
}
