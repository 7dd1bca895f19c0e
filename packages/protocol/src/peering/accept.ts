/**
 * `accept`: the invited site takes an invitation up. IQ set to the inviter's `cloud.` component, signed by the key that it
 * carries; the proof shows that the sender has the invitation's secret, bound to both domains and keys. The same invitation
 * and content gets the same answer (B1). Namespace urn:muster:peering:1, version 1.
 */
import { z } from "zod";
import { uuidSchema } from "../ids.ts";
import { NS_PEERING } from "../namespaces.ts";
import { flag, integer, nested, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { ed25519SignatureSchema, keySequenceSchema, sitePublicKeySchema } from "./site-key.ts";
import { peerTermsFields, peerTermsSchema } from "./terms.ts";

export const acceptSchema = z.object({
  invitation: uuidSchema,
  /** Public key of the invited site, to be pinned. */
  key: sitePublicKeySchema,
  keySequence: keySequenceSchema,
  proof: ed25519SignatureSchema,
  /** What the invited site lends. */
  lend: peerTermsSchema,
  /** Whether the invited site means to borrow. */
  borrow: z.boolean(),
});
export type Accept = z.output<typeof acceptSchema>;
export const acceptMessage = defineMessage({
  name: "accept",
  namespace: NS_PEERING,
  schema: acceptSchema,
  fields: {
    invitation: text,
    key: text,
    keySequence: integer,
    proof: text,
    lend: nested(peerTermsFields),
    borrow: flag,
  },
});

export const acceptedSchema = z.object({
  invitation: uuidSchema,
  /** What the inviting site lends. */
  lend: peerTermsSchema,
  borrow: z.boolean(),
});
export type Accepted = z.output<typeof acceptedSchema>;
export const acceptedMessage = defineMessage({
  name: "accepted",
  namespace: NS_PEERING,
  schema: acceptedSchema,
  fields: { invitation: text, lend: nested(peerTermsFields), borrow: flag },
});
