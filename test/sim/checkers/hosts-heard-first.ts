/**
 * L4: a successor hears the hosts before it orders anything of them, and all of them before it places; what was first asked
 * of it can run nowhere yet, and needs only its own host to be heard.
 */
import type { Checker } from "../checker.ts";
import { hostIn } from "../core-words.ts";
import type { HostNode } from "../host-node.ts";
import type { Lead } from "../lead.ts";
import { POLICY_TIMING } from "../policy.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

type Heard = {
  readonly core: Lead["core"];
  sinceMs: number;
  open: boolean;
  readonly hosts: Set<string>;
  readonly arrived: Set<string>;
};

export function hostsHeardFirst(world: World): Checker {
  const heard = new Map<Lead, Heard>();
  const of = (lead: Lead): Heard => {
    const known = heard.get(lead);
    if (known !== undefined && known.core === lead.core) return known;
    const fresh = {
      core: lead.core,
      sinceMs: lead.nowMs(),
      open: false,
      hosts: new Set<string>(),
      arrived: new Set<string>(),
    };
    heard.set(lead, fresh);
    return fresh;
  };
  return {
    onLead: (lead) => void of(lead),
    onEvent(lead, event) {
      const known = of(lead);
      // Once placing has begun, a link that comes and goes makes no successor.
      const unheard = [...lead.site.hosts.values()].some(
        (host) => !known.hosts.has(host.name) && !isFenced(lead, host),
      );
      if (lead.nowMs() >= known.sinceMs + POLICY_TIMING.settleMs || !unheard) known.open = true;
      if (event.kind === "link") known.sinceMs = event.online ? lead.nowMs() : Number.POSITIVE_INFINITY;
      if (event.kind === "host-inventory" && world.lists.has(event.vms)) known.hosts.add(event.host);
    },
    onEffect(lead, effect) {
      if (effect.kind === "move")
        claim(
          of(lead).hosts.has(effect.host),
          "L4",
          () => `${lead.name} asks ${effect.host} to ${effect.move.step} unheard`,
        );
      if (effect.kind !== "command" || effect.command.action === "settle") return;
      const { hosts } = of(lead);
      claim(
        hosts.has(effect.host),
        "L4",
        () => `${lead.name} orders ${effect.command.action} of ${effect.host} unheard`,
      );
    },
    onCommit(lead, kept) {
      const known = of(lead);
      if (known.open) return;
      for (const { key, before, after } of kept) {
        if (!key.startsWith("vm/") || after === undefined) continue;
        if (before === undefined) known.arrived.add(key);
        if (!isNewPlace(before, after)) continue;
        if (known.arrived.has(key)) {
          const host = hostOf(after);
          claim(known.hosts.has(host), "L4", () => `${lead.name} places ${key} on ${host} unheard`, key.slice(3));
          continue;
        }
        for (const host of lead.site.hosts.values()) {
          const heardOf = known.hosts.has(host.name) || isFenced(lead, host);
          claim(heardOf, "L4", () => `${lead.name} places ${key} before ${host.name} was heard`, key.slice(3));
        }
        known.open = true;
      }
    },
  };
}

/** Where a move ends is no new place: it was chosen when the move began, and the guest runs there. */
function isNewPlace(before: unknown, after: unknown): boolean {
  const was = before as { readonly attempt?: number; readonly move?: unknown } | undefined;
  const is = after as { readonly attempt: number; readonly phase: string; readonly move?: unknown };
  if (was?.move !== undefined && is.move !== undefined) return false;
  return is.phase === "placing" && is.attempt > (was?.attempt ?? 0);
}

function hostOf(record: unknown): string {
  const { place } = record as { readonly place: { readonly host?: string } };
  return place.host ?? "";
}

function isFenced(lead: Lead, host: HostNode): boolean {
  return hostIn(lead.site.store, host.name)?.fenced === true;
}
