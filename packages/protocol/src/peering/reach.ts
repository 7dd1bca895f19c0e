/**
 * A site whose server takes no connections from other servers is reached through a client account that it logs in to at its
 * partner's server (or a third one), outbound only. The account is part of what is agreed; who speaks is proved by the
 * signature on every message, as ever.
 */
import { z } from "zod";
import { xmppServiceSchema } from "../api/join-bundle.ts";
import { siteDomainSchema } from "../ids.ts";

/** Bare address of an account, prepared: `cloud-beta.example@alpha.example`. */
export const accountAddressSchema = z
  .string()
  .max(512)
  .regex(/^[^\s/@"&'<>:\p{Lu}\p{Cc}]+@[a-z0-9.-]+$/u, "must be a bare address: cloud-beta.example@alpha.example")
  .refine(
    (jid) => siteDomainSchema.safeParse(jid.slice(jid.indexOf("@") + 1)).success,
    "must end with a lower-case domain name",
  );

/** What the token of an invitation says of the account that the invited site is to use. */
export const reachOfferSchema = z.strictObject({
  jid: accountAddressSchema,
  /** Where to log in: `xmpps://<host>:<port>`. */
  service: xmppServiceSchema,
  /** Allows one registration of the account (XEP-0445), with a password of the invited site's own choice. */
  token: z.string().min(1).max(256),
  /** Certificates (PEM) that sign the server's; absent where every system knows them. */
  ca: z.string().max(8_192).optional(),
});
export type ReachOffer = z.output<typeof reachOfferSchema>;

/** The account that a site makes for a partner. */
export function partnerAccount(partner: string, domain: string): string {
  return `cloud-${partner}@${domain}`;
}

/** The resource under which a site logs in at its partner: a successor takes it from the leader before. */
export const REACH_RESOURCE = "muster";
