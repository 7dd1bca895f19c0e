import { type Capacity, capacityMessage } from "@muster/protocol";
import { Element } from "ltx";
import { showOf, statusLine } from "./capacity.ts";

/** Directed presence that carries the capacity: a line for people, an element for managers. */
export function capacityPresence(to: string, capacity: Capacity): Element {
  const presence = new Element("presence", { to });
  const show = showOf(capacity.condition);
  if (show !== undefined) presence.c("show").t(show);
  presence.c("status").t(statusLine(capacity));
  presence.cnode(capacityMessage.encode(capacity));
  return presence;
}

/** Says that the host manager goes, and its VMs stay. */
export function goodbyePresence(to: string): Element {
  const presence = new Element("presence", { to, type: "unavailable" });
  presence.c("status").t("host manager stopped; its VMs are left as they are");
  return presence;
}
