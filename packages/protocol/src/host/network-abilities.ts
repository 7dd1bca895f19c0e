/** What a host can attach VMs to: part of its capacity, so that no VM is placed where its networks are not. */
import { z } from "zod";
import { lineSchema, networkNameSchema } from "../ids.ts";
import { type Fields, line, nestedList, text, texts } from "../xml/field.ts";

/** Most of the admin's bridges that a host may have. */
export const BRIDGES_MAX = 100;

/** An attachment by its name, or `outside`; a manager that is older than the host does not know all of them. */
const abilitySchema = z.string().min(1).max(32);

export const networkAbilitiesSchema = z.object({
  abilities: z.array(abilitySchema).max(16),
  /** Networks of the site for which its admin made a bridge. */
  bridges: z.array(networkNameSchema).max(BRIDGES_MAX),
  /** What it cannot do, with the remedy. */
  lacks: z.array(z.object({ ability: abilitySchema, reason: lineSchema })).max(16),
});
export type NetworkAbilities = z.output<typeof networkAbilitiesSchema>;

export const networkAbilitiesFields: Fields<NetworkAbilities> = {
  abilities: texts("ability"),
  bridges: texts("bridge"),
  lacks: nestedList("lack", { ability: text, reason: line }),
};
