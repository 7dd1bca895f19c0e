import { z } from "zod";

/** Host, site-local and tag names: lower-case letters, digits, dots and dashes, as in a DNS label (RFC 1123 section 2.1). */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
/** A name that a person gives to a VM, project or user: no control characters, no spaces, at most 63 characters. */
const LABEL_NAME = /^[A-Za-z0-9]([A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const DOMAIN = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** VM id: a UUIDv7, unique in the federation; also the libvirt domain UUID. */
export const vmIdSchema = z.string().regex(UUID, "must be a lower-case UUID");
/** Request id: chosen by the client; the same id with the same content is the same request (B1). */
export const requestIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/, "must be 1 to 64 letters, digits, dots, colons, underscores or dashes");
/** Hold, lease and command ids: made by us, always UUIDs. */
export const uuidSchema = z.string().regex(UUID, "must be a lower-case UUID");
export const hostNameSchema = z.string().regex(NAME, "must be 1 to 63 lower-case letters, digits, dots or dashes");
export const siteDomainSchema = z.string().regex(DOMAIN, "must be a lower-case domain name");
export const vmNameSchema = z
  .string()
  .regex(
    LABEL_NAME,
    "must be 1 to 63 letters, digits, dots, underscores or dashes, and begin and end with one of the first two",
  );
export const projectNameSchema = vmNameSchema;
export const userNameSchema = vmNameSchema;
/** An image by tag (`debian-12`) or by digest (`sha256:…`). */
export const imageReferenceSchema = z
  .string()
  .regex(/^([a-z0-9][a-z0-9._-]{0,62}|sha256:[0-9a-f]{64})$/, "must be an image tag or sha256:<64 hex digits>");
/** A name that people give to an image; it may move to another one. */
export const imageTagSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "must be an image tag: 1 to 63 lower-case letters, digits, dots, dashes");
/** The content of an image: `sha256:` and 64 hex digits. */
export const imageDigestSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/, "must be sha256:<64 hex digits>");
/** A network of a site. */
export const networkNameSchema = hostNameSchema;
/** A locally administered unicast MAC address, lower case. */
export const macSchema = z
  .string()
  .regex(/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/, "must be a locally administered MAC address like 52:54:00:12:34:56");
/** SHA-256 of the canonical content, in lower-case hex. */
export const digestSchema = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hex digits");
/** Number of a leadership, only ever growing (L1). */
export const termSchema = z.int().min(1).max(Number.MAX_SAFE_INTEGER);
/** Number of a start: 1 is the first attempt to start a VM, each further place gets the next (H5). */
export const attemptSchema = z.int().min(1).max(1_000_000);
/** Label key and value, as hosts announce and specs ask for them. */
export const labelKeySchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9./-]{0,61}[a-z0-9])?$/, "must be a lower-case label key");
export const labelValueSchema = z.string().regex(/^[A-Za-z0-9._:-]{1,63}$/, "must be 1 to 63 plain characters");
export const labelsSchema = z
  .record(labelKeySchema, labelValueSchema)
  .refine((labels) => Object.keys(labels).length <= 32, {
    message: "at most 32 labels",
  });
/** Anything one line long that a person reads: status lines, reasons. */
export const lineSchema = z
  .string()
  .max(500)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this is the place that keeps them out
  .regex(/^[^\u0000-\u001f\u007f]*$/, "must be one line without control characters");
