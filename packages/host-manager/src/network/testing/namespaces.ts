import { execFileSync, spawnSync } from "node:child_process";

/** Whether this process may make network namespaces, bridges and tunnels; without, tests of them cannot run. */
export function canMakeNetworks(): boolean {
  const name = `mt53p${process.pid}`;
  if (spawnSync("ip", ["netns", "add", name]).status !== 0) return false;
  const made = spawnSync("ip", ["-n", name, "link", "add", "mt53x", "type", "vxlan", "id", "53", "dstport", "4789"]);
  spawnSync("ip", ["netns", "del", name]);
  return made.status === 0;
}

/** Network namespaces of one test, cleared away together. */
export class Namespaces {
  readonly #prefix: string;
  readonly #names: string[] = [];

  constructor(prefix: string) {
    this.#prefix = `mt53${prefix}`;
  }

  add(name: string): string {
    const full = `${this.#prefix}${name}`;
    ip(["netns", "add", full]);
    this.#names.push(full);
    ip(["-n", full, "link", "set", "lo", "up"]);
    return full;
  }

  /** A cable between two namespaces, an address at each end where one is given. */
  cable(
    [left, leftName, leftAddress]: readonly [string, string, string?],
    [right, rightName, rightAddress]: readonly [string, string, string?],
    mtu = 1_500,
  ): void {
    const peer = ["peer", "name", rightName, "netns", right];
    ip(["link", "add", leftName, "netns", left, "mtu", String(mtu), "type", "veth", ...peer, "mtu", String(mtu)]);
    for (const [namespace, name, address] of [
      [left, leftName, leftAddress],
      [right, rightName, rightAddress],
    ] as const) {
      if (address !== undefined) ip(["-n", namespace, "addr", "add", address, "dev", name]);
      ip(["-n", namespace, "link", "set", name, "up"]);
    }
  }

  /** Runs a program inside; whether it ended well. */
  run(namespace: string, command: string, ...args: readonly string[]): boolean {
    return spawnSync("ip", ["netns", "exec", namespace, command, ...args], { timeout: 10_000 }).status === 0;
  }

  /** Names of the interfaces there, without the loopback. */
  links(namespace: string): readonly string[] {
    const shown: { ifname: string }[] = JSON.parse(ip(["-n", namespace, "-json", "link", "show"]));
    return shown.map(({ ifname }) => ifname).filter((name) => name !== "lo");
  }

  clear(): void {
    for (const name of this.#names.splice(0)) spawnSync("ip", ["netns", "del", name]);
  }
}

export function ip(args: readonly string[]): string {
  return execFileSync("ip", [...args], { encoding: "utf8" });
}
