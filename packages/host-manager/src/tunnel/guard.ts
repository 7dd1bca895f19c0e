/**
 * What a gateway lets in from a tunnel: frames of the one interface that the tunnel is for, by its MAC and its address.
 * Whoever has the other end cannot pass for another host of the home network, for its router or for its DHCP server.
 */
import { ok, type Result } from "@muster/base";
import type { GuestNic } from "@muster/protocol";
import { IpLink } from "../network/ip-link.ts";
import { runProgram } from "../network/run-program.ts";
import { runWithInput } from "./run-with-input.ts";

/** `nftables`: by MAC and address, at the port. `locked`: by MAC, by the bridge (Linux 5.18 or newer). */
export type GuardMeans = { readonly nftables: boolean; readonly locked: boolean };

type Guarded = { readonly table: string; readonly port: string; readonly nic: GuestNic };

export class TunnelGuard {
  readonly #means: GuardMeans;
  readonly #inside: readonly string[];
  readonly #namespace: string | undefined;

  /** `namespace`: where the bridges of this host's guests are, if not here. */
  constructor(means: GuardMeans, namespace: string | undefined) {
    this.#means = means;
    this.#namespace = namespace;
    this.#inside = namespace === undefined ? [] : ["netns", "exec", namespace];
  }

  /** Before the port is put on its bridge. */
  async filter(guarded: Guarded): Promise<Result<void, string>> {
    return this.#means.nftables ? this.#nft(rulesOf(guarded)) : ok(undefined);
  }

  /**
   * After it was: the bridge knows what is behind it, and floods nothing unknown to it. Where the port is filtered, the entry
   * does not age and follows the interface, which comes home or goes away alive; otherwise nothing but it is behind the port.
   */
  async pin({ port, nic }: Guarded): Promise<Result<void, string>> {
    const { nftables } = this.#means;
    const flags = ["flood", "off", ...(nftables ? ["learning", "on"] : ["learning", "off", "locked", "on"])];
    const set = await this.#bridge(["link", "set", "dev", port, ...flags]);
    if (!set.ok) return set;
    const entry = ["dev", port, "master", nftables ? "extern_learn" : "static"];
    const pinned = await this.#bridge(["fdb", "replace", nic.mac, ...entry]);
    return pinned.ok ? ok(undefined) : pinned;
  }

  async remove(table: string): Promise<Result<void, string>> {
    if (!this.#means.nftables) return ok(undefined);
    return this.#nft(`table netdev ${table}\ndelete table netdev ${table}\n`);
  }

  #nft(script: string): Promise<Result<void, string>> {
    const [program = "nft", ...args] = [
      ...(this.#inside.length === 0 ? [] : ["ip", ...this.#inside]),
      "nft",
      "-f",
      "-",
    ];
    return runWithInput(program, args, script);
  }

  #bridge(args: readonly string[]): Promise<Result<string, string>> {
    return runProgram("bridge", [...(this.#namespace === undefined ? [] : ["-netns", this.#namespace]), ...args]);
  }
}

/** An older table of that name is replaced in one transaction (nft(8)). */
export function rulesOf({ table, port, nic }: Guarded): string {
  const { mac, address: cidr, addressing } = nic;
  const address = cidr?.split("/")[0];
  const accepted =
    address === undefined
      ? ["ether type { arp, ip } accept"]
      : [
          // 0.0.0.0 asks whether somebody else has the address (RFC 5227).
          `ether type arp arp saddr ether ${mac} arp saddr ip { 0.0.0.0, ${address} } accept`,
          `ether type ip ip saddr ${address} accept`,
          ...(addressing === "static" ? [] : ["ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept"]),
        ];
  return [
    `table netdev ${table}`,
    `delete table netdev ${table}`,
    `table netdev ${table} {`,
    "  chain arriving {",
    `    type filter hook ingress device "${port}" priority 0; policy drop;`,
    `    ether saddr != ${mac} drop`,
    // By RARP a guest that was moved alive says where it is now.
    "    ether type 0x8035 accept",
    ...accepted.map((rule) => `    ${rule}`),
    "  }",
    "}",
    "",
  ].join("\n");
}

/** Tries both out in a scratch namespace. */
export async function probeGuard(namespace: string): Promise<GuardMeans> {
  const links = new IpLink(namespace);
  const made = await links.run(
    ["link", "add", "b0", "type", "bridge"],
    ["link", "add", "x0", "type", "vxlan", "id", "1", "dstport", "4789"],
    ["link", "set", "x0", "master", "b0"],
  );
  if (!made.ok) return { nftables: false, locked: false };
  const nic: GuestNic = {
    network: "probe",
    attachment: "bridge",
    mac: "52:54:00:00:00:01",
    mtu: 1_370,
    addressing: "dhcp",
    address: "10.0.0.1/24",
  };
  const rules = rulesOf({ table: "probe", port: "x0", nic });
  const nftables = await runWithInput("ip", ["netns", "exec", namespace, "nft", "-f", "-"], rules);
  const locked = await runProgram("bridge", ["-netns", namespace, "link", "set", "dev", "x0", "locked", "on"]);
  return { nftables: nftables.ok, locked: locked.ok };
}
