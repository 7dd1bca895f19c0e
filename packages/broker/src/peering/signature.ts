/**
 * Signatures over what sites say to each other (B5): a detached JWS (RFC 7515 appendix F) with EdDSA (RFC 8037).
 *
 * XMPP servers may write the same element in another way (order of attributes, quotes, white space), so not the XML is
 * signed but the canonical text of what it says, together with its name, who says it to whom, and for an answer the
 * question it answers. Any other element, or the same one between others, does not verify.
 */
import { createHash } from "node:crypto";
import { err, ok, type Result } from "@muster/base";
import {
  attachSignature,
  canonicalText,
  detachSignature,
  NS_BURST,
  NS_PEERING,
  type Refusal,
  refusal,
} from "@muster/protocol";
import { CompactSign, compactVerify, errors } from "jose";
import type { Element } from "ltx";
import { decodeBurstAnswer, decodeBurstNotice, decodeBurstRequest } from "../burst-codec.ts";
import { keyFingerprint, type SiteKey } from "./keys.ts";
import type { PinnedPeer } from "./peering.ts";
import { decodePeeringAnswer, decodePeeringRequest } from "./peering-codec.ts";

/** Between whom an element goes, as site domains, and for an answer the payload of its question. */
export type SignedRoute = { readonly from: string; readonly to: string; readonly question?: Element | undefined };

const ALGORITHM = "EdDSA";

/** Adds the signature to the element and returns it. Throws where it is no message between sites: that is our bug. */
export async function signBurst(element: Element, route: SignedRoute, key: SiteKey): Promise<Element> {
  const covered = coveredText(element, route);
  if (!covered.ok) throw new TypeError(`cannot sign <${element.getName()}/>: ${covered.error.message}`);
  const jws = await new CompactSign(Buffer.from(covered.value))
    .setProtectedHeader({ alg: ALGORITHM, kid: key.fingerprint })
    .sign(key.privateKey);
  const [header = "", , signature = ""] = jws.split(".");
  return attachSignature(element, `${header}..${signature}`);
}

/**
 * Takes the signature out of the element and checks it against the key pinned for the peer. `route.from` is the domain
 * that the XMPP server vouches for; it must be the peering's. A refusal says `not-authorized`, or names the field that
 * does not decode.
 */
export async function verifyBurst(
  element: Element,
  route: SignedRoute,
  peering: PinnedPeer,
): Promise<Result<Element, Refusal>> {
  const detached = detachSignature(element);
  const parts = detached?.split(".");
  if (parts?.length !== 3 || parts[1] !== "")
    return err(refusal("not-authorized", "unsigned", "the message carries no signature; sign it with the site key"));
  if (route.from !== peering.domain)
    return err(refusal("not-authorized", "wrong-sender", `the message is not from ${peering.domain}`));
  const covered = coveredText(element, route);
  if (!covered.ok) return covered;
  const jws = `${parts[0]}.${Buffer.from(covered.value).toString("base64url")}.${parts[2]}`;
  if (await isSignedBy(jws, peering.publicKey)) return ok(element);
  if (peering.earlierKey !== undefined && (await isSignedBy(jws, peering.earlierKey))) return ok(element);
  const pinned = keyFingerprint(peering.publicKey);
  const message = `the signature is not by the key pinned for ${peering.domain} (${pinned}), or the message was changed`;
  return err(refusal("not-authorized", "bad-signature", message));
}

async function isSignedBy(jws: string, publicKey: string): Promise<boolean> {
  try {
    await compactVerify(jws, { kty: "OKP", crv: "Ed25519", x: publicKey }, { algorithms: [ALGORITHM] });
    return true;
  } catch (fault) {
    if (!(fault instanceof errors.JOSEError || fault instanceof TypeError || fault instanceof DOMException))
      throw fault;
    return false;
  }
}

/** What is signed: the same on both sides whatever the XML in between looked like. */
function coveredText(element: Element, route: SignedRoute): Result<string, Refusal> {
  const said = decodedText(element);
  if (!said.ok) return said;
  const { from, to, question } = route;
  const asked = question === undefined ? ok(undefined) : decodedText(question);
  if (!asked.ok) return asked;
  const answers = asked.value === undefined ? undefined : createHash("sha256").update(asked.value).digest("hex");
  const namespace = isOfPeering(element) ? NS_PEERING : NS_BURST;
  return ok(canonicalText({ from, to, namespace, said: said.value, answers }));
}

function isOfPeering(element: Element): boolean {
  return element.getNS() === NS_PEERING;
}

/** Name and decoded fields of any message between sites. */
function decodedText(element: Element): Result<string, Refusal> {
  if (isOfPeering(element)) {
    const asked = decodePeeringRequest(element);
    const said = asked.ok || asked.error.reason !== "unknown-message" ? asked : decodePeeringAnswer(element);
    return said.ok ? ok(canonicalText(said.value)) : said;
  }
  const request = decodeBurstRequest(element);
  if (request.ok) return ok(canonicalText(request.value));
  if (request.error.reason !== "unknown-message") return request;
  const answer = decodeBurstAnswer(element);
  if (answer.ok) return ok(canonicalText(answer.value));
  if (answer.error.reason !== "unknown-message") return answer;
  if (element.getName() !== "states") return answer;
  const notice = decodeBurstNotice(element);
  return notice.ok ? ok(canonicalText({ kind: "states", body: notice.value })) : notice;
}
