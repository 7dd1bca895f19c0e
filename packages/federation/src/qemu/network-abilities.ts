import { existsSync } from "node:fs";
import { runProgram } from "../process/run-program.ts";

/** One thing that a kernel, or a program in its place, can or cannot do for the networks of guests. */
export type NetworkAbility = {
  readonly name: "bridge" | "vxlan" | "tap" | "vlan filtering" | "open vswitch" | "iptables" | "wireguard";
  readonly present: boolean;
  /** What it is for. */
  readonly use: string;
};

/**
 * What this machine can do for guests' networks, tried out in a namespace that is gone afterwards; the error says why nothing
 * can be told. Takes root.
 */
export async function probeNetworkAbilities(): Promise<readonly NetworkAbility[] | string> {
  const name = `muq${process.pid}`;
  const added = await runProgram("ip", ["netns", "add", name]);
  if (!added.ok) return added.error;
  try {
    const works = async (...args: readonly string[]): Promise<boolean> =>
      (await runProgram("ip", ["-netns", name, ...args])).ok;
    return [
      { name: "bridge", present: await works("link", "add", "b0", "type", "bridge"), use: "networks of a host" },
      {
        name: "vxlan",
        present: await works("link", "add", "x0", "type", "vxlan", "id", "1", "dstport", "4789"),
        use: "tenants' networks across hosts",
      },
      { name: "tap", present: await works("tuntap", "add", "t0", "mode", "tap"), use: "interfaces of guests" },
      {
        name: "vlan filtering",
        present: await works("link", "add", "b1", "type", "bridge", "vlan_filtering", "1"),
        use: "tenants' networks by VLAN",
      },
      { name: "open vswitch", present: hasOpenVSwitch(), use: "tenants' networks by VLAN where the kernel has none" },
      { name: "wireguard", present: await tunnels(name), use: "tunnels to other sites" },
      { name: "iptables", present: await filters(name), use: "routes outside for tenants' networks" },
    ];
  } finally {
    await runProgram("ip", ["netns", "del", name]);
  }
}

/** By the kernel, or by wireguard-go, both of them set up by wg. */
async function tunnels(namespace: string): Promise<boolean> {
  if (!(await runProgram("wg", ["--version"])).ok) return false;
  if ((await runProgram("ip", ["-netns", namespace, "link", "add", "w0", "type", "wireguard"])).ok) return true;
  return (await runProgram("wireguard-go", ["--version"])).ok;
}

async function filters(namespace: string): Promise<boolean> {
  return (await runProgram("ip", ["netns", "exec", namespace, "iptables", "-t", "nat", "-S"])).ok;
}

function hasOpenVSwitch(): boolean {
  return ["/usr/bin/ovs-vsctl", "/usr/local/bin/ovs-vsctl"].some(existsSync) && existsSync("/run/openvswitch/db.sock");
}
