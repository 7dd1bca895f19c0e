import type { FederationWish, HostPlan, SitePlan } from "./federation-plan.ts";
import { DEMO_IMAGES } from "./manager-config.ts";

/** Where a host manager finds what its configuration names. */
export type HostPaths = {
  readonly state: string;
  readonly passwordFile: string;
  readonly caFile: string;
  /** Socket of the host's libvirtd, where it has one. */
  readonly libvirtSocket: string;
};

/** `host.yaml` of one host, as plain data. */
export function hostConfig(
  site: SitePlan,
  host: HostPlan,
  wish: FederationWish,
  paths: HostPaths,
  server: string = site.address,
): object {
  return {
    site: site.domain,
    name: host.name,
    state: paths.state,
    xmpp: { service: `xmpps://${server}:5223`, passwordFile: paths.passwordFile, caFile: paths.caFile },
    hypervisor:
      wish.hypervisor === "libvirt"
        ? { kind: "libvirt", uri: "test:///default", socket: paths.libvirtSocket }
        : { kind: "simulated" },
    total: { vcpus: wish.hostVcpus, memoryMiB: wish.hostMemoryMiB, diskGiB: wish.hostDiskGiB, gpus: 0 },
    labels: { zone: host.zone },
    images: DEMO_IMAGES.map(({ tag }) => tag),
    heartbeatMs: wish.heartbeatMs,
  };
}
