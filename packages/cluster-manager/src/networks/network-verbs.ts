/** What admins do with networks. */
import { type NetworkCreate, type Refusal, refusal } from "@muster/protocol";
import type { Actor } from "../core/event.ts";
import type { Round } from "../core/round.ts";
import type { NetworkEvent } from "./network-event.ts";
import { planNetwork, VNI_RANGE } from "./network-plan.ts";
import type { NetworkRecord } from "./network-record.ts";

/** Most networks of a site (S2). */
export const NETWORKS_MAX = 1_000;

export function takeNetworkVerb(round: Round, event: NetworkEvent): void {
  const refused =
    refuseNonAdmin(event.actor) ??
    (event.kind === "network-create" ? create(round, event.actor, event.create) : remove(round, event.network));
  const network = event.kind === "network-create" ? event.create.name : event.network;
  round.turn.answer(
    event.ticket,
    refused === undefined ? { kind: "network", network } : { kind: "refused", refusal: refused },
  );
}

function refuseNonAdmin(actor: Actor): Refusal | undefined {
  if (actor.role === "admin") return undefined;
  return refusal("forbidden", "admin-only", `${actor.user} may not change networks: ask an admin`);
}

function create(round: Round, actor: Actor, wish: NetworkCreate): Refusal | undefined {
  const { set, turn, policy } = round;
  const book = set.networks;
  const known = book.records.get(wish.name);
  if (known === undefined && book.records.size >= NETWORKS_MAX)
    return refusal("resource-constraint", "too-many-networks", `a site has at most ${NETWORKS_MAX} networks`);
  if (known !== undefined) {
    // The same wish again is the same network (B1): its own VXLAN identifier stands in nobody's way.
    const again = { ...wish, vni: undefined, ...(wish.vni === known.vni ? {} : { vni: wish.vni }) };
    const plan = planNetwork(book, again, policy.vnis ?? VNI_RANGE);
    if (plan.ok && isSame(known, { ...known, ...plan.value, vni: wish.vni ?? known.vni })) return undefined;
    const message = `there is a network ${wish.name} already, and it is another one: choose another name`;
    return refusal("conflict", "name-taken", message, { field: "name" });
  }
  const plan = planNetwork(book, wish, policy.vnis ?? VNI_RANGE);
  if (!plan.ok) return plan.error;
  if (plan.value.isDefault && book.byDefault !== undefined) put(round, { ...book.byDefault, isDefault: false });
  put(round, { ...plan.value, user: actor.user, createdAtMs: turn.nowMs });
  turn.event("network", wish.name, "was made");
  return undefined;
}

function isSame(left: NetworkRecord, right: NetworkRecord): boolean {
  const keys = [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
  const text = (record: NetworkRecord): string => JSON.stringify(record, keys.concat("first", "last"));
  return text(left) === text(right);
}

function remove(round: Round, name: string): Refusal | undefined {
  const { set, turn } = round;
  if (!set.networks.records.has(name))
    return refusal("item-not-found", "unknown-network", `there is no network ${name}: see muster network list`);
  const vms = set.networks.vmsOn(name);
  if (vms > 0)
    return refusal("conflict", "network-in-use", `${vms} VMs have an interface on ${name}: delete them first`);
  set.networks.records.delete(name);
  turn.delete(`network/${name}`);
  turn.event("network", name, "was deleted");
  return undefined;
}

function put({ set, turn }: Round, record: NetworkRecord): void {
  set.networks.records.set(record.name, record);
  turn.put(`network/${record.name}`, record);
}
