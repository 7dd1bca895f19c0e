/** The core as others read it. Nothing here changes anything. */
import type { BorrowerEnv } from "@muster/broker";
import type { ImageView, VmView } from "@muster/protocol";
import { lenderEnv } from "../dispatch/lending.ts";
import { maySee } from "../images/image-verbs.ts";
import { imageView } from "../images/image-view.ts";
import { networkView } from "../networks/network-view.ts";
import { peerViews, siteKeyView } from "../peering/peer-view.ts";
import { shownTo } from "../peering/shown-to-peers.ts";
import type { CoreViews } from "./core.ts";
import type { Actor } from "./event.ts";
import { dryRun, queueOf, waitReasons, why } from "./explanation.ts";
import type { Round } from "./round.ts";
import { storeView } from "./store-view.ts";
import { hostView, leaseViews, lentView, siteView, vmView } from "./view.ts";
import type { VmEntry } from "./working-set.ts";

/** The core's world between two steps. */
export type World = Omit<Round, "turn">;

export function createViews(world: () => World, borrowerEnv: (nowMs: number) => BorrowerEnv): CoreViews {
  /** Ids in order, kept as long as no VM comes or goes. */
  let order: { readonly set: World["set"]; readonly generation: number; readonly ids: readonly string[] } | undefined;
  const ids = (): readonly string[] => {
    const { set } = world();
    if (order?.set !== set || order.generation !== set.generation)
      order = { set, generation: set.generation, ids: [...set.vms.keys()].sort() };
    return order.ids;
  };
  /** Why VMs wait, worked out once for all that ask for the same, and anew after each step. */
  let reasons:
    | { readonly set: World["set"]; readonly step: number; readonly of: (entry: VmEntry) => string }
    | undefined;
  const waitsOf = (entry: VmEntry): string => {
    const { set } = world();
    if (reasons?.set !== set || reasons.step !== set.steps)
      reasons = { set, step: set.steps, of: waitReasons(world(), set.steppedAtMs) };
    return reasons.of(entry);
  };
  const viewOf = (entry: VmEntry): VmView =>
    vmView(
      entry.record,
      entry.record.phase === "queued" ? waitsOf(entry) : undefined,
      world().set.moves.get(entry.record.id),
    );
  const viewsOf = (vms: readonly string[]): VmView[] =>
    vms.flatMap((id) => {
      const entry = world().set.vms.get(id);
      return entry === undefined ? [] : [viewOf(entry)];
    });
  return {
    site: (nowMs) => siteView(world(), nowMs),
    hosts: () => [...world().set.hosts.values()].sort(byName).map((host) => hostView(world(), host)),
    host(name) {
      const host = world().set.hosts.get(name);
      return host === undefined ? undefined : hostView(world(), host);
    },
    admits: (name) => world().set.hosts.has(name) || world().set.restore?.state === "pending",
    store: () => storeView(world()),
    vms: () => viewsOf(ids()),
    vm(idOrName) {
      const found = world().set.find(idOrName);
      return found === undefined || found === "ambiguous" ? found : viewOf(found);
    },
    request(id) {
      const record = world().set.requests.get(id);
      return record === undefined ? undefined : { vms: viewsOf(record.vms) };
    },
    queue: (nowMs) => queueOf(world(), nowMs, borrowerEnv(nowMs)),
    ...peeringViews(world),
    images: (actor) => [...imageViews(world(), actor)],
    image(actor, reference) {
      const { set } = world();
      const record = set.images.find(reference);
      return record === undefined || !maySee(actor, record)
        ? undefined
        : imageView(set.images, record, set.hosts.values());
    },
    imageRecord: (digest) => world().set.images.records.get(digest),
    imageBytes: () => world().set.images.bytes,
    networks: (nowMs) =>
      [...world().set.networks.records.values()]
        .sort(byName)
        .map((record) => networkView(world().set.networks, record, nowMs)),
    network(name, nowMs) {
      const { networks } = world().set;
      const record = networks.records.get(name);
      return record === undefined ? undefined : networkView(networks, record, nowMs);
    },
    ...policyViews(world),
    why: (vm, nowMs) => why(world(), vm, nowMs, borrowerEnv(nowMs)),
    dryRun: (actor, create, nowMs) => dryRun(world(), actor, create, nowMs, borrowerEnv(nowMs)),
  };
}

/** Whom we deal with. */
function peeringViews(
  world: () => World,
): Pick<
  CoreViews,
  "ledgerBalances" | "peers" | "peering" | "pinnedPeer" | "hasInvited" | "peerDoor" | "ownKey" | "siteKey" | "reaches"
> {
  return {
    ledgerBalances: () => world().ledger?.balances() ?? [],
    peers: (nowMs) => peerViews(world(), nowMs),
    peering: (domain, nowMs) => world().set.peers.find(domain, nowMs),
    pinnedPeer: (domain, nowMs) => world().set.peers.pinned(domain, nowMs),
    hasInvited(domain, invitation) {
      const origin = world().set.peers.records.get(domain)?.origin;
      return origin?.role === "inviter" && origin.id === invitation;
    },
    peerDoor: () => world().set.peers.door(world().policy.domain),
    reaches: () => world().set.peers,
    ownKey: () => world().set.peers.ownKey,
    siteKey: () => siteKeyView(world().set.peers),
  };
}

/** What we lend, and on what terms. */
function policyViews(
  world: () => World,
): Pick<CoreViews, "leases" | "lent" | "shownTo" | "explainPolicy" | "policyBasis"> {
  return {
    leases: (nowMs) => leaseViews(world(), nowMs),
    shownTo: (domain, nowMs) => shownTo(world(), domain, nowMs),
    lent(peer, id, nowMs) {
      const record = world().lender.find(peer, id);
      return record === undefined ? undefined : lentView(record, nowMs);
    },
    explainPolicy: (peer, wish, nowMs) => world().lender.explain(peer, wish, lenderEnv(world(), nowMs)),
    policyBasis(peer, nowMs) {
      const peering = world().set.peers.find(peer, nowMs);
      if (peering === undefined) return undefined;
      const { siteTotal, images } = lenderEnv(world(), nowMs);
      return { peering, siteTotal, images };
    },
  };
}

function* imageViews({ set }: World, actor: Actor): Generator<ImageView> {
  const digests = [...set.images.records.keys()].sort();
  for (const digest of digests) {
    const record = set.images.records.get(digest);
    if (record !== undefined && maySee(actor, record)) yield imageView(set.images, record, set.hosts.values());
  }
}

function byName(left: { readonly name: string }, right: { readonly name: string }): number {
  return left.name < right.name ? -1 : 1;
}
