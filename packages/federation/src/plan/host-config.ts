import { HOST_BRIDGE, type HostMachinePlan, LAN } from "../qemu/machine-plan.ts";
import type { FederationWish, HostPlan, SitePlan } from "./federation-plan.ts";

/** Where a host manager finds what its configuration names. */
export type HostPaths = {
  readonly state: string;
  readonly passwordFile: string;
  readonly caFile: string;
  /** Socket of the host's libvirtd, where it has one. */
  readonly libvirtSocket: string;
  /** Its networks, where it runs real guests in a namespace of its own. */
  readonly machine?: HostMachinePlan | undefined;
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
    hypervisor: hypervisorOf(wish, paths),
    ...(paths.machine === undefined ? {} : { networks: networksOf(paths.machine) }),
    total: { vcpus: wish.hostVcpus, memoryMiB: wish.hostMemoryMiB, diskGiB: wish.hostDiskGiB, gpus: 0 },
    labels: { zone: host.zone },
    images: site.images.map(({ tag }) => tag),
    heartbeatMs: wish.heartbeatMs,
  };
}

function hypervisorOf({ hypervisor, virtType }: FederationWish, { libvirtSocket: socket, machine }: HostPaths): object {
  switch (hypervisor) {
    case "libvirt":
      return { kind: "libvirt", uri: "test:///default", socket };
    case "qemu":
      return { kind: "libvirt", uri: machine === undefined ? "qemu:///session" : "qemu:///system", socket, virtType };
    case "simulated":
      return { kind: "simulated" };
  }
}

function networksOf({ namespace, underlayAddress, underlayPeers }: HostMachinePlan): object {
  const underlay = { address: underlayAddress, peers: underlayPeers };
  return { namespace, bridges: { [LAN]: HOST_BRIDGE }, underlay };
}
