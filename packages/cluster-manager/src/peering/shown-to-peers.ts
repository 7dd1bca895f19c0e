/** What our presence shows one peer: the offer it would get now, coarse, by class of hosts as well. */

import type { Peering } from "@muster/broker";
import {
  add,
  coarse,
  NO_RESOURCES,
  type Offer,
  RESOURCE_KINDS,
  type Resources,
  SHOWN_CLASSES_MAX,
  type SitePresence,
} from "@muster/protocol";
import type { World } from "../core/views.ts";
import { classLeft } from "../dispatch/class-shares.ts";
import { lenderEnv } from "../dispatch/lending.ts";
import { options } from "../queue/drain.ts";
import { maintenanceNow } from "./maintenance.ts";

/** Label of a host that names its class. */
const CLASS_LABEL = "class";

/** `undefined`: nothing is shown, since the peering is not in force on our side. */
export function shownTo(world: World, domain: string, nowMs: number): SitePresence | undefined {
  const peering = world.set.peers.find(domain, nowMs);
  if (peering === undefined || peering.state === "suspended") return undefined;
  const offer = world.lender.offer(domain, lenderEnv(world, nowMs));
  if (offer === undefined) return undefined;
  const maintenance = maintenanceNow(world, nowMs);
  const until = maintenance?.untilMs === undefined ? {} : { until: new Date(maintenance.untilMs).toISOString() };
  const { accepting, reason, prices } = offer;
  return {
    accepting,
    ...(reason === undefined ? {} : { reason }),
    free: coarse(offer.free),
    classes: classesOf(world, peering, offer),
    ...(prices === undefined ? {} : { prices }),
    ...(maintenance === undefined ? {} : { maintenance: { reason: maintenance.reason, ...until } }),
  };
}

function classesOf(world: World, peering: Peering, offer: Offer): SitePresence["classes"] {
  const free = new Map<string, Resources>();
  for (const { labels, obstacle, free: room } of options(world)) {
    const name = labels[CLASS_LABEL];
    if (name === undefined) continue;
    const known = free.get(name) ?? NO_RESOURCES;
    free.set(name, obstacle === undefined ? add(known, room) : known);
  }
  const names = [...free.keys()].sort().slice(0, SHOWN_CLASSES_MAX);
  return names.map((name) => {
    const left = least(free.get(name) ?? NO_RESOURCES, offer.free);
    const share = classLeft(world, peering, name);
    return { name, free: coarse(share === undefined ? left : least(left, share)) };
  });
}

function least(left: Resources, right: Resources): Resources {
  const smaller = RESOURCE_KINDS.map((kind) => [kind, Math.min(left[kind], right[kind])] as const);
  return { ...NO_RESOURCES, ...Object.fromEntries(smaller) };
}
