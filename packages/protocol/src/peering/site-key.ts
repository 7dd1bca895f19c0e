import { z } from "zod";

/** Ed25519 public key, JWK `x` (RFC 8037): 32 bytes in base64url. */
export const sitePublicKeySchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{43}$/, "must be an Ed25519 public key: 43 characters of base64url");
/** Number of a site's key: 1 is the first, each successor has a higher one. */
export const keySequenceSchema = z.int().min(1).max(1_000_000);
/** Ed25519 signature: 64 bytes in base64url. */
export const ed25519SignatureSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{86}$/, "must be an Ed25519 signature: 86 characters of base64url");
