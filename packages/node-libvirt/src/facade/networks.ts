import type { Client } from "../client/client.ts";
import type { Subscription } from "../client/subscriptions.ts";
import type { CallOptions } from "../connection/connection.ts";
import { ErrorCode } from "../fault.ts";
import type { Network } from "../table/fields.ts";
import { networkProcedures as rows } from "../table/network.ts";
import { flags, orAbsent } from "./wire.ts";

/** An address that a network's DHCP server gave out. */
export interface DhcpLease {
  readonly interface: string;
  /** End of the lease in seconds since 1970; 0 for never. */
  readonly expiresAtS: bigint;
  readonly family: "ipv4" | "ipv6";
  readonly mac: string | null;
  readonly address: string;
  readonly prefix: number;
  readonly hostname: string | null;
  readonly clientId: string | null;
}

/** A change in a network's life. */
export interface NetworkLifecycle {
  readonly network: Network;
  readonly event: "defined" | "undefined" | "started" | "stopped" | "unknown";
}

const EVENTS = ["defined", "undefined", "started", "stopped"] as const;

/** Virtual networks. */
export class Networks {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /** All networks, running or not. */
  async list(options: CallOptions & { readonly active?: boolean } = {}): Promise<readonly Network[]> {
    const set = flags([options.active === false, 0], [options.active, 1]);
    return (await this.#client.call(rows.connectListAllNetworks, { needResults: 1, flags: set }, options)).networks;
  }

  /** The network of that name, or undefined. */
  async lookupByName(name: string, options?: CallOptions): Promise<Network | undefined> {
    const found = this.#client.call(rows.networkLookupByName, { name }, options);
    return (await orAbsent(found, ErrorCode.noNetwork))?.network;
  }

  /** The network of that UUID, or undefined. */
  async lookupByUuid(uuid: string, options?: CallOptions): Promise<Network | undefined> {
    const found = this.#client.call(rows.networkLookupByUuid, { uuid }, options);
    return (await orAbsent(found, ErrorCode.noNetwork))?.network;
  }

  /** Defines a network, or changes its definition, without starting it. */
  async define(xml: string, options?: CallOptions): Promise<Network> {
    return (await this.#client.call(rows.networkDefineXml, { xml }, options)).network;
  }

  /** Creates and starts a network that is gone once it stops. */
  async create(xml: string, options?: CallOptions): Promise<Network> {
    return (await this.#client.call(rows.networkCreateXml, { xml }, options)).network;
  }

  /** Starts a defined network. */
  async start(network: Network, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.networkCreate, { network }, options);
  }

  /** Stops a network; its definition stays. */
  async destroy(network: Network, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.networkDestroy, { network }, options);
  }

  /** Takes the definition away. */
  async undefine(network: Network, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.networkUndefine, { network }, options);
  }

  /** The description in XML. */
  async xml(network: Network, options?: CallOptions): Promise<string> {
    return (await this.#client.call(rows.networkGetXmlDesc, { network, flags: 0 }, options)).xml;
  }

  /** Whether it is running. */
  async isActive(network: Network, options?: CallOptions): Promise<boolean> {
    return (await this.#client.call(rows.networkIsActive, { network }, options)).active !== 0;
  }

  /** The machine's bridge that the network is on. */
  async bridgeName(network: Network, options?: CallOptions): Promise<string> {
    return (await this.#client.call(rows.networkGetBridgeName, { network }, options)).bridge;
  }

  /** Whether the daemon starts it when the machine boots. */
  async autostart(network: Network, options?: CallOptions): Promise<boolean> {
    return (await this.#client.call(rows.networkGetAutostart, { network }, options)).autostart !== 0;
  }

  /** Sets whether the daemon starts it when the machine boots. */
  async setAutostart(network: Network, autostart: boolean, options?: CallOptions): Promise<void> {
    await this.#client.call(rows.networkSetAutostart, { network, autostart: autostart ? 1 : 0 }, options);
  }

  /** The DHCP leases of a network, all or those of one MAC address. */
  async dhcpLeases(network: Network, mac?: string, options?: CallOptions): Promise<readonly DhcpLease[]> {
    const args = { network, mac: mac ?? null, needResults: 1, flags: 0 };
    const { leases } = await this.#client.call(rows.networkGetDhcpLeases, args, options);
    return leases.map(({ type, iaid: _, ...lease }) => ({ ...lease, family: type === 0 ? "ipv4" : "ipv6" }));
  }

  /** Calls `handler` whenever a network is defined, started, stopped or undefined. */
  onLifecycle(handler: (change: NetworkLifecycle) => void, only?: Network): Promise<Subscription> {
    return this.#client.subscribe(
      "network.lifecycle",
      ({ network, event }) => handler({ network, event: EVENTS[event] ?? "unknown" }),
      only,
    );
  }
}
