/**
 * What a site shows its peers of itself, in its directed presence to their `cloud.` components: coarse, as far as its policy
 * for each of them allows, and promising nothing. Namespace urn:muster:site:1, version 1.
 */
import { z } from "zod";
import { lineSchema } from "../ids.ts";
import { unitPricesFields, unitPricesSchema } from "../ledger/prices.ts";
import { NS_SITE } from "../namespaces.ts";
import { RESOURCE_KINDS, type Resources, resourcesSchema } from "../resources.ts";
import { type Fields, flag, line, nested, nestedList, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { resourceFields } from "../xml/spec-fields.ts";

/** Most classes of hosts that are shown. */
export const SHOWN_CLASSES_MAX = 20;

/** The site lends nothing new for a while: `<show/>` is `xa` then. */
export const maintenanceSchema = z.object({
  reason: lineSchema.min(1).max(200),
  /** By the site's own clock, for people; absent: until it says otherwise. */
  until: z.iso.datetime().optional(),
});
export type Maintenance = Readonly<z.output<typeof maintenanceSchema>>;

export const sitePresenceSchema = z.object({
  accepting: z.boolean(),
  /** Why not. */
  reason: lineSchema.max(500).optional(),
  /** For this peer now, each kind rounded down to a power of two. */
  free: resourcesSchema,
  /** The same by class of hosts, the label `class`; hosts without one are in none. */
  classes: z.array(z.object({ name: z.string().min(1).max(63), free: resourcesSchema })).max(SHOWN_CLASSES_MAX),
  prices: unitPricesSchema.optional(),
  maintenance: maintenanceSchema.optional(),
});
export type SitePresence = Readonly<z.output<typeof sitePresenceSchema>>;

const maintenanceFields: Fields<Maintenance> = { reason: line, until: text };

export const sitePresenceMessage = defineMessage({
  name: "site",
  namespace: NS_SITE,
  schema: sitePresenceSchema,
  fields: {
    accepting: flag,
    reason: line,
    free: nested(resourceFields),
    classes: nestedList("class", { name: text, free: nested(resourceFields) }),
    prices: nested(unitPricesFields),
    maintenance: nested(maintenanceFields),
  },
});

/** Each kind rounded down to a power of two: tells no peer what comes and goes here one by one. */
export function coarse(resources: Resources): Resources {
  const round = (amount: number): number => (amount < 1 ? 0 : 2 ** Math.floor(Math.log2(amount)));
  const rounded = RESOURCE_KINDS.map((kind) => [kind, round(resources[kind])] as const);
  return { ...resources, ...Object.fromEntries(rounded) };
}
