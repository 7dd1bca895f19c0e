import { createHash } from "node:crypto";
import type { TunnelPlan } from "./port.ts";

/** What belongs to one end, by names that no other end on the machine has. Interface names have at most 15 characters. */
export type TunnelNames = {
  /** Namespace in which the tunnel's inside is, and nothing else: no service of the host listens there, and no route leads out. */
  readonly namespace: string;
  readonly wireguard: string;
  readonly vxlan: string;
  /** Of a guest's end. */
  readonly bridge: string;
  /** Of nftables. */
  readonly table: string;
};

const NAMESPACE = "mt-";

/** `host`: the state folder, since several host managers may share a machine. */
export function tunnelNames(host: string, { id, end }: Pick<TunnelPlan, "id" | "end">): TunnelNames {
  const key = `${hostKey(host)}${digest(`${id}/${end}`).slice(0, 7)}`;
  return {
    namespace: `${NAMESPACE}${key}`,
    wireguard: `mw${key}`,
    vxlan: `mg${key}`,
    bridge: `mt${key}`,
    table: `muster_${key}`,
  };
}

/** How the namespaces of this host's ends begin. */
export function namespacePrefix(host: string): string {
  return `${NAMESPACE}${hostKey(host)}`;
}

function hostKey(host: string): string {
  return digest(host).slice(0, 4);
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
