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
    ...(wish.hypervisor === "qemu" ? { networks: networksOf(paths.machine, site, host) } : {}),
    // Host managers have this machine's network, also where their libvirt has a namespace; user networking cannot be moved.
    ...(paths.machine === undefined ? {} : { migration: { address: site.address } }),
    ...(paths.machine === undefined ? {} : { gateway: { address: site.address, ports: TUNNEL_PORTS } }),
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

/** Without a namespace, guests are reached by ports of the site's address, a range of them for each host. */
function networksOf(machine: HostMachinePlan | undefined, { address, hosts }: SitePlan, host: HostPlan): object {
  if (machine === undefined) {
    const firstPort = USER_PORT + hosts.indexOf(host) * USER_PORTS_A_HOST;
    return { user: { address, firstPort, lastPort: firstPort + USER_PORTS_A_HOST - 1 } };
  }
  const { namespace, underlayAddress, lanAddress } = machine;
  return {
    namespace,
    bridges: { [LAN]: HOST_BRIDGE },
    // The leader tells the hosts of one another.
    underlay: { address: underlayAddress },
    access: { address: lanAddress, ports: ACCESS_PORTS },
  };
}

/** Of all hosts of this machine: each takes what is free. */
const TUNNEL_PORTS = "51820-51999";
/** Of each host's own address. */
const ACCESS_PORTS = "20000-20999";
const USER_PORT = 22_000;
const USER_PORTS_A_HOST = 100;
