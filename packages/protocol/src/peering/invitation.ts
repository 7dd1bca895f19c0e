/** The token of `muster peer invite`: everything the invited site needs, as one word that fits a chat line. */
import { decode, err, type FieldFault, type Result } from "@muster/base";
import { z } from "zod";
import { cloudAddress } from "../address.ts";
import { siteDomainSchema, uuidSchema } from "../ids.ts";
import { reachOfferSchema } from "./reach.ts";
import { keySequenceSchema, sitePublicKeySchema } from "./site-key.ts";
import { peerTermsSchema } from "./terms.ts";

/** 32 bytes in base64url. */
export const invitationSecretSchema = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "must be 43 characters of base64url");

export const invitationSchema = z
  .strictObject({
    v: z.literal(1, "is of another version: use the muster of the site that printed it"),
    invitation: uuidSchema,
    /** The inviting site, and the address at which it is spoken to. */
    site: siteDomainSchema,
    cloud: siteDomainSchema,
    key: sitePublicKeySchema,
    keySequence: keySequenceSchema,
    /** The one site that may take it up. */
    for: siteDomainSchema,
    /** Seed of the key that proves possession of this token, 32 bytes in base64url. */
    secret: invitationSecretSchema,
    /** End, in seconds since 1970 by the inviting site's clock. */
    expiresAt: z.int().min(0),
    /** What the inviting site proposes to lend, and whether it means to borrow. */
    lend: peerTermsSchema,
    borrow: z.boolean(),
    /** Given where the invited site is to come as a client account. */
    reach: reachOfferSchema.optional(),
  })
  .refine(({ site, cloud }) => cloud === cloudAddress(site), {
    path: ["cloud"],
    message: "must be the cloud address of the inviting site",
  });
export type Invitation = z.output<typeof invitationSchema>;

/** Longest text that is looked at; the longest invitation that passes the schema is shorter (S2). */
const TEXT_MAX = 16_384;

/** JSON with one-letter names in base64url (RFC 4648 section 5). */
export function encodeInvitation(invitation: Invitation): string {
  const { lend, reach } = invitation;
  const { accept, sharePermille, leaseMsMax, vmsMax, images } = lend;
  const short = {
    v: invitation.v,
    i: invitation.invitation,
    s: invitation.site,
    c: invitation.cloud,
    k: invitation.key,
    n: invitation.keySequence,
    f: invitation.for,
    x: invitation.secret,
    e: invitation.expiresAt,
    l: [accept ? 1 : 0, sharePermille, leaseMsMax, vmsMax, ...images],
    b: invitation.borrow ? 1 : 0,
    ...(reach === undefined
      ? {}
      : { r: [reach.jid, reach.service, reach.token, ...(reach.ca === undefined ? [] : [reach.ca])] }),
  };
  return Buffer.from(JSON.stringify(short)).toString("base64url");
}

/** Reads a token back; the faults name the field and never quote the content, which is secret (S1, S3). */
export function decodeInvitation(text: string): Result<Invitation, FieldFault[]> {
  if (text.length > TEXT_MAX) return broken(`is longer than ${TEXT_MAX} characters`);
  if (!/^[A-Za-z0-9_-]+$/.test(text)) return broken("is not base64url");
  const bytes = Buffer.from(text, "base64url");
  // Characters that stand for no whole byte are left out in silence, unless one looks.
  if (bytes.toString("base64url") !== text) return broken("is cut off or altered");
  try {
    return decode(invitationSchema, longNames(JSON.parse(bytes.toString("utf8"))));
  } catch {
    return broken("is cut off or altered");
  }
}

function longNames(short: unknown): unknown {
  if (typeof short !== "object" || short === null) return short;
  const { v, i, s, c, k, n, f, x, e, l, b, r, ...rest }: Record<string, unknown> = { ...short };
  const [accept, sharePermille, leaseMsMax, vmsMax, ...images]: unknown[] = Array.isArray(l) ? l : [];
  return {
    v,
    invitation: i,
    site: s,
    cloud: c,
    key: k,
    keySequence: n,
    for: f,
    secret: x,
    expiresAt: e,
    lend: { accept: accept === 1, sharePermille, leaseMsMax, vmsMax, images },
    borrow: b === 1,
    ...(r === undefined ? {} : { reach: longReach(r) }),
    ...rest,
  };
}

function longReach(short: unknown): unknown {
  if (!Array.isArray(short)) return short;
  const [jid, service, token, ca, ...more]: unknown[] = short;
  return { jid, service, token, ...(ca === undefined ? {} : { ca }), ...(more.length === 0 ? {} : { more }) };
}

function broken(what: string): Result<never, FieldFault[]> {
  return err([{ field: "token", message: `${what}: copy the whole token that "muster peer invite" printed` }]);
}
