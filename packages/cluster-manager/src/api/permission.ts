import { type Refusal, refusal, type VmView } from "@muster/protocol";
import type { CoreViews } from "../core/core.ts";
import type { Actor } from "../core/event.ts";

/** Whether the actor sees what belongs to this project. */
export function sees(actor: Actor, project: string): boolean {
  return actor.role === "admin" || actor.projects.includes("*") || actor.projects.includes(project);
}

/** Why the actor may not change anything in this project, or `undefined`. */
export function changeRefusal(actor: Actor, project: string): Refusal | undefined {
  if (actor.role === "viewer")
    return refusal("forbidden", "read-only", "this account may look, not change; ask an admin for the role user");
  if (sees(actor, project)) return undefined;
  const message = `${actor.user} may not act in project ${project}; use one of: ${actor.projects.join(", ") || "none"}`;
  return refusal("forbidden", "not-your-project", message, { field: "project" });
}

export function adminRefusal(actor: Actor): Refusal | undefined {
  if (actor.role === "admin") return undefined;
  return refusal("forbidden", "admin-only", "only an admin of the site may do this; ask one");
}

/** A backup holds what users keep to themselves, such as the user-data of their VMs. */
export function backupRefusal(actor: Actor): Refusal | undefined {
  if (actor.role === "admin" || actor.backup === true) return undefined;
  const message = "only an admin, or a token whose entry says `may: [backup]`, may read all records of the site";
  return refusal("forbidden", "no-backup", message);
}

/** The VM of this id or name as far as the actor may see it: what it may not see, it cannot tell from what is not there. */
export function findVm(views: CoreViews, actor: Actor, idOrName: string): VmView | Refusal {
  const found = views.vm(idOrName);
  if (found === "ambiguous")
    return refusal("conflict", "ambiguous-name", `several VMs are called ${idOrName}; name one by its id`, {
      field: "id",
    });
  if (found === undefined || !sees(actor, found.project)) return unknown("vm", idOrName);
  return found;
}

type Kind = "vm" | "host" | "request" | "peer" | "lease" | "image" | "network";

export function unknown(what: Kind, id: string): Refusal {
  const shown = id.length > 64 ? `${id.slice(0, 64)}…` : id;
  const plain = /^[\x20-\x7e…]*$/.test(shown) ? ` ${shown}` : "";
  return refusal("item-not-found", `unknown-${what}`, `no ${what}${plain} here; list them to see which there are`);
}
