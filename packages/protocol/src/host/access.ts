/**
 * Where a VM behind its host's address is reached from outside: a port of the host that leads to the guest's ssh. Told by the
 * host, shown to the VM's user, and by a lender to its borrower.
 */
import { z } from "zod";
import { type Fields, integer, text } from "../xml/field.ts";

export const accessSchema = z.object({
  /** Address of the host, as its admin gave it. */
  host: z.union([z.ipv4(), z.ipv6()], "must be an IP address"),
  port: z.int().min(1).max(65_535),
});
export type Access = z.output<typeof accessSchema>;

export const accessFields: Fields<Access> = { host: text, port: integer };
