/**
 * What a lender grants a peer, as sites tell each other. It informs: what counts is the lender's own policy at the moment
 * of a hold (B5).
 */
import { z } from "zod";
import { LEASE_MS_MAX } from "../burst/hold.ts";
import { imageReferenceSchema } from "../ids.ts";
import { type Fields, flag, integer, texts } from "../xml/field.ts";

/** Most images that terms name; a policy with more names none of them. */
export const TERMS_IMAGES_MAX = 50;
/** A share of the whole site, in thousandths: the wire carries whole numbers only. */
export const PERMILLE = 1_000;

export const peerTermsSchema = z.object({
  /** Whether requests are taken at all. */
  accept: z.boolean(),
  sharePermille: z.int().min(0).max(PERMILLE),
  /** Longest lease granted at a time. */
  leaseMsMax: z.int().min(0).max(LEASE_MS_MAX),
  /** Most VMs at once. */
  vmsMax: z.int().min(0).max(100_000),
  /** Images granted, by tag or digest; none named means all. */
  images: z.array(imageReferenceSchema).max(TERMS_IMAGES_MAX),
});
export type PeerTerms = z.output<typeof peerTermsSchema>;

export const peerTermsFields: Fields<PeerTerms> = {
  accept: flag,
  sharePermille: integer,
  leaseMsMax: integer,
  vmsMax: integer,
  images: texts("image"),
};
