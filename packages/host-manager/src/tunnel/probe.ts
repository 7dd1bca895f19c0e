import type { TunnelAbility } from "@muster/protocol";
import { IpLink } from "../network/ip-link.ts";
import { runProgram } from "../network/run-program.ts";
import type { GatewayConfig } from "./config.ts";
import { type GuardMeans, probeGuard } from "./guard.ts";
import type { Carrier } from "./wireguard.ts";

/** What this machine offers for tunnels, tried out. */
export type TunnelMeans =
  | { readonly kind: "ready"; readonly carrier: Carrier; readonly guard: GuardMeans }
  | { readonly kind: "lacking"; readonly reason: string };

/** Headers around a packet in WireGuard: IPv6 (40), UDP (8), its own header and tag (32). */
const WIREGUARD_OVERHEAD = 80;
/** Headers around a frame in VXLAN over IPv4 (RFC 7348 §5). */
const VXLAN_OVERHEAD = 50;

/** MTU of the WireGuard interface, and of what is behind the VXLAN in it. */
export function mtusOf({ mtu }: Pick<GatewayConfig, "mtu">): { readonly carrier: number; readonly guest: number } {
  return { carrier: mtu - WIREGUARD_OVERHEAD, guest: mtu - WIREGUARD_OVERHEAD - VXLAN_OVERHEAD };
}

/** Tries everything in a namespace that is gone afterwards. Takes root. */
export async function probeTunnels(scratch: string): Promise<TunnelMeans> {
  const outside = new IpLink();
  const added = await outside.run(["netns", "add", scratch]);
  if (!added.ok) return lacking(`no network namespaces: ${added.error}`);
  try {
    const wg = await runProgram("wg", ["--version"]);
    if (!wg.ok) return lacking("wg is missing: install wireguard-tools");
    const inside = new IpLink(scratch);
    const kernel = await inside.run(["link", "add", "w0", "type", "wireguard"]);
    const carrier: Carrier = kernel.ok ? "kernel" : "wireguard-go";
    if (carrier === "wireguard-go") {
      if (!(await runProgram("wireguard-go", ["--version"])).ok)
        return lacking("this kernel has no WireGuard: install wireguard-go");
      const tap = await inside.run(["tuntap", "add", "t0", "mode", "tun"]);
      if (!tap.ok) return lacking(`wireguard-go needs /dev/net/tun: ${tap.error}`);
    }
    const vxlan = await inside.run(["link", "add", "v0", "type", "vxlan", "id", "1", "dstport", "4789"]);
    if (!vxlan.ok) return lacking(`this kernel has no VXLAN: ${vxlan.error}`);
    await inside.run(["link", "del", "v0"]);
    const guard = await probeGuard(scratch);
    if (!guard.nftables && !guard.locked)
      return lacking("nothing filters what comes out of a tunnel: install nftables, or use Linux 5.18 or newer");
    return { kind: "ready", carrier, guard };
  } finally {
    await outside.run(["netns", "del", scratch]);
  }
}

function lacking(reason: string): TunnelMeans {
  return { kind: "lacking", reason: reason.slice(0, 400) };
}

/** As the leader hears it. */
export function abilityOf(config: GatewayConfig, means: TunnelMeans): TunnelAbility {
  const mtu = mtusOf(config).guest;
  const address = config.address === undefined ? {} : { address: config.address };
  if (means.kind === "lacking") return { ready: false, ...address, mtu, says: means.reason };
  const carrier = means.carrier === "kernel" ? "WireGuard of the kernel" : "wireguard-go";
  const guard = means.guard.nftables ? "nftables filters by MAC and address" : "locked bridge ports filter by MAC";
  return { ready: true, ...address, mtu, says: `${carrier}, ${guard}` };
}
