import { resourcesOf, type TunnelReach, type VmSpec } from "@muster/protocol";
import type { SitePolicy } from "../core/core.ts";
import type { Origin } from "../core/records.ts";
import { groupKey } from "../inventory/host-entry.ts";
import type { NetworkRecord } from "../networks/network-record.ts";
import type { Demand, NetworkDemand } from "./host-option.ts";

/** What a spec asks of a host. */
export function demandOf(
  vm: {
    readonly spec: VmSpec;
    readonly project: string;
    readonly origin: Origin;
    readonly imageDigest?: string | undefined;
    readonly tunnel?: TunnelReach | undefined;
  },
  networks: readonly NetworkRecord[],
  images: SitePolicy["images"],
  avoid?: ReadonlySet<string>,
): Demand {
  const { spec } = vm;
  return {
    resources: resourcesOf(spec),
    labels: Object.entries(spec.labels),
    // A tag that has moved since is another image: hosts are asked for the content that was chosen.
    images: vm.imageDigest === undefined ? imageNames(spec.image, images) : [vm.imageDigest],
    ...(spec.affinityGroup === undefined ? {} : { affinity: groupKey(vm, spec.affinityGroup) }),
    ...(spec.antiAffinityGroup === undefined ? {} : { antiAffinity: groupKey(vm, spec.antiAffinityGroup) }),
    ...(vm.tunnel === undefined ? {} : { tunnel: vm.tunnel }),
    ...(networks.length === 0 ? {} : { networks: networks.map(networkDemand) }),
    ...(avoid === undefined ? {} : { avoid }),
  };
}

function networkDemand({ name, attachment, outside }: NetworkRecord): NetworkDemand {
  return { name, abilities: [attachment, ...(outside === undefined ? [] : ["outside"])] };
}

/** The image by its tag and by its digest, whichever of them the site knows. */
function imageNames(image: string, images: SitePolicy["images"]): string[] {
  const known = images.find(({ tag, digest }) => tag === image || digest === image);
  if (known === undefined) return [image];
  return known.digest === undefined ? [known.tag] : [known.tag, known.digest];
}
