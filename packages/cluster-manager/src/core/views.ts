/** The core as others read it. Nothing here changes anything. */
import type { BorrowerEnv } from "@muster/broker";
import type { ImageView, VmView } from "@muster/protocol";
import { maySee } from "../images/image-verbs.ts";
import { imageView } from "../images/image-view.ts";
import { networkView } from "../networks/network-view.ts";
import type { CoreViews } from "./core.ts";
import type { Actor } from "./event.ts";
import { dryRun, queueOf, why } from "./explanation.ts";
import type { Round } from "./round.ts";
import { storeView } from "./store-view.ts";
import { hostView, leaseViews, peerViews, siteView, vmView } from "./view.ts";

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
  const viewOf = (id: string): VmView[] => {
    const entry = world().set.vms.get(id);
    return entry === undefined ? [] : [vmView(entry.record)];
  };
  return {
    site: () => siteView(world()),
    hosts: () => [...world().set.hosts.values()].sort(byName).map((host) => hostView(world(), host)),
    host(name) {
      const host = world().set.hosts.get(name);
      return host === undefined ? undefined : hostView(world(), host);
    },
    admits: (name) => world().set.hosts.has(name) || world().set.restore?.state === "pending",
    store: () => storeView(world()),
    vms: () => ids().flatMap(viewOf),
    vm(idOrName) {
      const found = world().set.find(idOrName);
      return found === undefined || found === "ambiguous" ? found : vmView(found.record);
    },
    request(id) {
      const record = world().set.requests.get(id);
      return record === undefined ? undefined : { vms: record.vms.flatMap(viewOf) };
    },
    queue: (nowMs) => queueOf(world(), nowMs, borrowerEnv(nowMs)),
    leases: (nowMs) => leaseViews(world(), nowMs),
    peers: () => peerViews(world()),
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
    why: (vm, nowMs) => why(world(), vm, nowMs, borrowerEnv(nowMs)),
    dryRun: (actor, create, nowMs) => dryRun(world(), actor, create, nowMs, borrowerEnv(nowMs)),
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
