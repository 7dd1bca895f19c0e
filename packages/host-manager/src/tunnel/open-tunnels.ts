import { join } from "node:path";
import { type Clock, err, ok, type Result } from "@muster/base";
import type { HostNetworks, NetworkFault } from "../network/port.ts";
import type { GatewayConfig } from "./config.ts";
import { HostTunnels } from "./host-tunnels.ts";
import { TunnelNotes } from "./notes.ts";
import type { Tunnels } from "./port.ts";
import { tunnelledNetworks } from "./tunnelled-networks.ts";

/** The networks of a host that carries tunnels, and the tunnels; the fault says why its notes cannot be read. */
export function openTunnels(options: {
  readonly gateway: GatewayConfig;
  readonly namespace: string | undefined;
  readonly stateFolder: string;
  readonly networks: HostNetworks;
  readonly clock: Clock;
  readonly onFault: (where: string, reason: string) => void;
}): Result<{ readonly networks: HostNetworks; readonly tunnels: Tunnels }, NetworkFault> {
  const { gateway: config, ...rest } = options;
  const notes = TunnelNotes.open(join(options.stateFolder, "tunnels.json"));
  if (!notes.ok) return err({ reason: notes.error });
  const tunnels = new HostTunnels({ ...rest, config, notes: notes.value });
  return ok({ networks: tunnelledNetworks(options.networks, tunnels), tunnels });
}
