import { decode, err, type FieldFault, type Result } from "@muster/base";
import { z } from "zod";
import { hostNameSchema, siteDomainSchema } from "../ids.ts";

/** Where hosts log in: the site's XMPP server with TLS from the first byte (XEP-0368). */
export const xmppServiceSchema = z
  .string()
  .max(300)
  .regex(/^xmpps:\/\/(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?$/, "must be xmpps://<host>:<port>");

/** Everything that a new host is told: it holds a secret, which works once and for this host's account only. */
export const joinBundleSchema = z.strictObject({
  v: z.literal(1, "is of another version: use the muster of the site that printed it"),
  /** XMPP domain of the site. */
  site: siteDomainSchema,
  name: hostNameSchema,
  service: xmppServiceSchema,
  /** Single-use token (XEP-0445). */
  token: z.string().regex(/^[!-~]{1,256}$/, "must be a token: 1 to 256 printable characters"),
  /** Certificates (PEM) that may have signed the server's; without them, those of the host's system. */
  ca: z
    .string()
    .max(32_768)
    .regex(/^-----BEGIN CERTIFICATE-----\n/, "must be certificates as PEM")
    .optional(),
});
export type JoinBundle = z.output<typeof joinBundleSchema>;

/** Longest text that is looked at; the longest bundle that passes the schema is shorter (S2). */
const TEXT_MAX = 65_536;

/** The bundle as one word for a command line: JSON in base64url (RFC 4648 section 5). */
export function encodeJoinBundle(bundle: JoinBundle): string {
  return Buffer.from(JSON.stringify(bundle)).toString("base64url");
}

/** Reads a bundle back; the faults name the field and never quote the content, which is secret (S1, S3). */
export function decodeJoinBundle(text: string): Result<JoinBundle, FieldFault[]> {
  if (text.length > TEXT_MAX) return broken(`is longer than ${TEXT_MAX} characters`);
  if (!/^[A-Za-z0-9_-]+$/.test(text)) return broken("is not base64url");
  const bytes = Buffer.from(text, "base64url");
  // Characters that stand for no whole byte are left out in silence, unless one looks.
  if (bytes.toString("base64url") !== text) return broken("is cut off or altered");
  try {
    return decode(joinBundleSchema, JSON.parse(bytes.toString("utf8")));
  } catch {
    return broken("is cut off or altered");
  }
}

function broken(what: string): Result<never, FieldFault[]> {
  return err([{ field: "", message: `${what}: copy the whole command that "muster host enrol" printed` }]);
}
