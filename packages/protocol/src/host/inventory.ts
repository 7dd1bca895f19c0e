/**
 * `inventory`: all attempts a host knows of, paged by XEP-0059's idea of "after": IQ get with the last VM id seen, answered
 * by the next page in order of VM id. Namespace urn:muster:inventory:1, version 1.
 */
import { z } from "zod";
import { uuidSchema, vmIdSchema } from "../ids.ts";
import { NS_INVENTORY } from "../namespaces.ts";
import { type Fields, flag, integer, nested, nestedList, text } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { hostVmFields, hostVmSchema } from "./capacity.ts";
import { commandSubjectSchema, subjectFields } from "./command.ts";

/** Most entries on one page: keeps a page under 10 KB. */
export const INVENTORY_PAGE_MAX = 50;

export const inventoryQuerySchema = z.object({
  /** Last VM id of the page before; absent for the first page. */
  after: vmIdSchema.optional(),
  max: z.int().min(1).max(INVENTORY_PAGE_MAX),
  /** What each VM is as well: for a manager whose store may not know all of them. A page is shorter then. */
  subjects: z.boolean().optional(),
});
export type InventoryQuery = z.output<typeof inventoryQuerySchema>;
export const inventoryQueryMessage = defineMessage({
  name: "query",
  namespace: NS_INVENTORY,
  schema: inventoryQuerySchema,
  fields: { after: text, max: integer, subjects: flag },
});

/** An attempt in the whole list; with what was ordered, where that was asked for and is known. */
export const listedVmSchema = hostVmSchema.extend({ subject: commandSubjectSchema.optional() });
export type ListedVm = z.output<typeof listedVmSchema>;
const listedVmFields: Fields<ListedVm> = { ...hostVmFields, subject: nested(subjectFields) };

export const inventoryPageSchema = z.object({
  bootId: uuidSchema,
  /** Grows with every change of the list: pages of different revisions do not add up to one list. */
  revision: z.int().min(0),
  /** Digest of the whole list, the same as in the host's capacity. */
  digest: z.string().max(64),
  /** Whether this is the last page. */
  complete: z.boolean(),
  vms: z.array(listedVmSchema).max(INVENTORY_PAGE_MAX),
});
export type InventoryPage = z.output<typeof inventoryPageSchema>;
export const inventoryPageMessage = defineMessage({
  name: "page",
  namespace: NS_INVENTORY,
  schema: inventoryPageSchema,
  fields: { bootId: text, revision: integer, digest: text, complete: flag, vms: nestedList("vm", listedVmFields) },
});
