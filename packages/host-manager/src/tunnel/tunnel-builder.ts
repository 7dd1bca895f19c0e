/** Makes one end out of its parts, in an order in which nothing gets through before it is filtered. Every step is safe to repeat. */
import { type Clock, err, ok, type ProcessIdentity, type Result } from "@muster/base";
import type { GatewayConfig } from "./config.ts";
import { TunnelGuard } from "./guard.ts";
import { type TunnelNames, tunnelNames } from "./names.ts";
import type { TunnelNote } from "./notes.ts";
import { TunnelOverlay } from "./overlay.ts";
import type { TunnelPlan } from "./port.ts";
import { mtusOf, type TunnelMeans } from "./probe.ts";
import { WireGuard } from "./wireguard.ts";

/** Addresses inside a tunnel (RFC 3927): each tunnel is alone in its namespace, so that all of them have the same. */
const INSIDE = { gateway: "169.254.77.1", guest: "169.254.77.2" } as const;

/** Where the two ends of a tunnel meet each other in its namespace. */
export function insideOf(end: TunnelPlan["end"]): { readonly own: string; readonly other: string } {
  return end === "gateway"
    ? { own: INSIDE.gateway, other: INSIDE.guest }
    : { own: INSIDE.guest, other: INSIDE.gateway };
}

export type TunnelBuilderParts = {
  readonly config: GatewayConfig;
  readonly namespace: string | undefined;
  readonly stateFolder: string;
  readonly clock: Clock;
  readonly means: TunnelMeans & { readonly kind: "ready" };
};

export class TunnelBuilder {
  readonly #parts: TunnelBuilderParts;
  readonly #wireguard: WireGuard;
  readonly #overlay: TunnelOverlay;
  readonly #guard: TunnelGuard;

  constructor(parts: TunnelBuilderParts) {
    this.#parts = parts;
    this.#wireguard = new WireGuard(parts.clock, parts.means.carrier, parts.config.namespace);
    this.#overlay = new TunnelOverlay(parts.namespace);
    this.#guard = new TunnelGuard(parts.means.guard, parts.namespace);
  }

  names(plan: Pick<TunnelPlan, "id" | "end">): TunnelNames {
    return tunnelNames(this.#parts.stateFolder, plan);
  }

  /** The bridge that the end is on: `home` at a gateway, one of its own for a guest. */
  async ensure(
    note: TunnelNote,
    home: string | undefined,
    spawned: (carrier: ProcessIdentity) => void,
  ): Promise<Result<string, string>> {
    const names = this.names(note);
    const { own, other } = insideOf(note.end);
    const mtus = mtusOf(this.#parts.config);
    if (note.nic.mtu > mtus.guest && note.end === "guest")
      return err(`an MTU of ${note.nic.mtu} does not fit into a tunnel of this host: it leaves ${mtus.guest}`);
    const { privateKey, port, peer, vni } = note;
    const { namespace, wireguard: name } = names;
    const carried = { name, namespace, privateKey, port, mtu: mtus.carrier, own, other, peer };
    const carrier = await this.#wireguard.ensure(carried, note.carrier, spawned);
    if (!carrier.ok) return carrier;
    const bridge = home ?? names.bridge;
    const ownBridge = home === undefined ? await this.#overlay.ensureBridge(names, note.nic.mtu) : ok(undefined);
    if (!ownBridge.ok) return ownBridge;
    const made = await this.#overlay.ensurePort({ names, vni, own, other });
    if (!made.ok) return made;
    const guarded = { table: names.table, port: names.vxlan, nic: note.nic };
    for (const step of [
      () => (home === undefined ? Promise.resolve(ok(undefined)) : this.#guard.filter(guarded)),
      () => this.#overlay.join(names, bridge),
      () => (home === undefined ? Promise.resolve(ok(undefined)) : this.#guard.pin(guarded)),
      () => this.#overlay.wake(names),
    ]) {
      const done = await step();
      if (!done.ok) return done;
    }
    return ok(bridge);
  }

  /** Whether it is there and carried. */
  async isWhole(note: TunnelNote): Promise<boolean> {
    return this.#wireguard.isCarried(note.carrier) && (await this.#overlay.isThere(this.names(note)));
  }

  heardMs(plan: Pick<TunnelPlan, "id" | "end">): Promise<number | undefined> {
    const { wireguard, namespace } = this.names(plan);
    return this.#wireguard.heardMs(wireguard, namespace);
  }

  async remove(note: TunnelNote): Promise<Result<void, string>> {
    const names = this.names(note);
    const port = await this.#overlay.remove(names);
    if (!port.ok) return port;
    const filter = note.end === "gateway" ? await this.#guard.remove(names.table) : ok(undefined);
    if (!filter.ok) return filter;
    return this.#wireguard.remove(names.wireguard, names.namespace, note.carrier);
  }
}
