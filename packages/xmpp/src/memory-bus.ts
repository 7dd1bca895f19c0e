import { type Clock, type Rng, seededRng } from "@muster/base";
import { parseAddress } from "./address.ts";
import type { Bus } from "./bus.ts";
import type { Connector } from "./link.ts";
import { type BusOptions, linkedBus } from "./linked-bus.ts";
import { addressMatches, type MemoryFaults, MemoryPaths, NO_FAULTS } from "./memory-paths.ts";
import { MemoryServers, type ServerState } from "./memory-servers.ts";

export type MemoryNetworkOptions = {
  readonly clock: Clock;
  /** Everything left to chance comes from here: same seed, same run. */
  readonly rng: Rng;
  readonly faults?: Partial<MemoryFaults>;
  /** From opening a link to online. */
  readonly connectMs?: number;
  /** Who stays when a second link binds a component (Prosody's `component_conflict_resolve`). */
  readonly componentConflict?: "kick-old" | "kick-new";
};

export type MemoryBusOptions = Omit<BusOptions, "clock" | "rng" | "newId">;

/**
 * XMPP servers and the network between them, in memory: stamps `from`, routes, bounces and ends links as servers do,
 * and loses, delays, repeats and reorders as networks do. Managers and simulator run on it unchanged.
 */
export type MemoryNetwork = {
  /** A client account's Bus; `address` is full (`hm@alpha.test/host`). Not started. Its server comes to be by it. */
  client(address: string, options?: MemoryBusOptions): Bus;
  /** A component's Bus. Not started. */
  component(domain: string, options?: MemoryBusOptions): Bus;
  /** Replaces the named faults from now on; what is under way is not touched. */
  setFaults(faults: Partial<MemoryFaults>): void;
  /**
   * No stanza passes between the two groups, either way. An address, a bare address, or a domain with all below it.
   * `silent` swallows; `bounce` answers `remote-server-timeout`, as a server does that knows its peer is away.
   * Returns the healing.
   */
  partition(one: readonly string[], other: readonly string[], how?: "silent" | "bounce"): () => void;
  /** The links of this address (or domain) are reset now; their Bus links again by itself. */
  cut(address: string): void;
  /** The links hang half-open: nothing passes, nobody is told. */
  freeze(address: string): void;
  /** Ends `freeze`: what was buffered passes. */
  thaw(address: string): void;
  /** `down` resets all links of the domain and refuses new ones; `hung` accepts connections and never answers. */
  setServer(domain: string, state: ServerState): void;
  /** Stanzas under way. */
  readonly inFlight: number;
};

/** A network in memory. Deterministic on a virtual clock. */
export function memoryNetwork(options: MemoryNetworkOptions): MemoryNetwork {
  const { clock, rng } = options;
  const streamOf = (): Rng => seededRng(rng.int(2 ** 32));
  const [idRng, jitterRng] = [streamOf(), streamOf()];
  const paths = new MemoryPaths({ clock, rng: streamOf(), faults: { ...NO_FAULTS, ...options.faults } });
  const servers = new MemoryServers({
    clock,
    paths,
    connectMs: options.connectMs ?? 0,
    componentConflict: options.componentConflict ?? "kick-old",
  });
  const busOptions = (own: MemoryBusOptions | undefined): BusOptions => ({
    ...own,
    clock,
    rng: jitterRng,
    // Links in memory hang only when told to, and a simulation has no use for ten thousand pings.
    times: { pingAfterMs: 0, ...own?.times },
    newId: () => Buffer.from(idRng.bytes(16)).toString("hex"),
  });
  return {
    client(address, own) {
      const parsed = parseAddress(address);
      if (parsed === undefined || parsed.local === "" || parsed.resource === "") {
        throw new Error(`a client needs a full address such as hm@alpha.test/host, not ${address}`);
      }
      servers.addServer(parsed.domain);
      const connect: Connector = (listener) => servers.open({ kind: "client", address: parsed }, listener);
      return linkedBus({ kind: "client", account: `${parsed.local}@${parsed.domain}` }, connect, busOptions(own));
    },
    component(domain, own) {
      const parsed = parseAddress(domain);
      if (parsed === undefined || parsed.local !== "" || parsed.resource !== "") {
        throw new Error(`a component needs a domain such as cloud.alpha.test, not ${domain}`);
      }
      servers.addComponent(parsed.domain);
      const connect: Connector = (listener) => servers.open({ kind: "component", address: parsed }, listener);
      return linkedBus({ kind: "component", domain: parsed.domain }, connect, busOptions(own));
    },
    setFaults: (faults) => paths.setFaults(faults),
    partition: (one, other, how = "silent") => paths.partition(one, other, how),
    cut: (address) => servers.cut((link) => addressMatches(link, address)),
    freeze: (address) => servers.freeze((link) => addressMatches(link, address)),
    thaw: (address) => servers.thaw((link) => addressMatches(link, address)),
    setServer: (domain, state) => servers.setServer(domain, state),
    get inFlight() {
      return paths.inFlight;
    },
  };
}
