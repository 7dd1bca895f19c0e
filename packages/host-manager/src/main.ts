/** Entry point of the host manager: `main.ts --config FILE`. Exit codes: 0 stopped as told, 1 failed, 2 usage or
 * configuration, 4 the enrolment was refused: neither token nor password was taken, and it was never online,
 * 5 the account is refused: the host was removed from its site. */
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { err, ok, type Result, readConfig, Shutdown, systemClock, systemRng } from "@muster/base";
import { hostAccount } from "@muster/protocol";
import { xmppClientBus } from "@muster/xmpp";
import { type Logger, pino } from "pino";
import { type Account, readAccount } from "./account.ts";
import { type HostConfig, hostConfigSchema } from "./config.ts";
import { createHostManager } from "./host-manager.ts";
import { startEmbedded } from "./hypervisor/embedded.ts";
import { libvirtHypervisor } from "./hypervisor/libvirt.ts";
import { LibvirtGuests } from "./hypervisor/libvirt-guests.ts";
import type { Hypervisor } from "./hypervisor/port.ts";
import { SimulatedMachine } from "./hypervisor/simulated.ts";
import { levelJournal } from "./journal/level.ts";
import { openHostNetworks } from "./network/host-networks.ts";
import type { HostNetworks } from "./network/port.ts";
import { openTunnels } from "./tunnel/open-tunnels.ts";
import type { Tunnels } from "./tunnel/port.ts";

/**
 * Longest pause before the server is tried again, and no longer than two heartbeats: once the server is back, a leader waits
 * some heartbeats for its hosts before it counts them as lost.
 */
const LINK_PAUSE_MS_MAX = 30_000;

const USAGE = "usage: main.ts --config FILE [--clear-tunnels]";

const EXIT_NOT_ENROLLED = 4;
const EXIT_REFUSED = 5;

// Not by itself: the XMPP library's timer for closing politely outlives a link that was reset meanwhile.
process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  const settings = readSettings(args);
  if (!settings.ok) {
    process.stderr.write(`${settings.error}\n`);
    return 2;
  }
  const { config, account, clearTunnels } = settings.value;
  const log = pino({ base: { host: config.name, site: config.site }, timestamp: pino.stdTimeFunctions.isoTime });
  if (clearTunnels) return clear(config, log);
  const shutdown = new Shutdown(systemClock);
  try {
    return await run(config, account, log, shutdown);
  } catch (cause) {
    log.fatal({ reason: cause instanceof Error ? cause.message : String(cause) }, "cannot start");
    return 1;
  } finally {
    const { late, failed } = await shutdown.run();
    if (late.length + failed.length > 0) log.warn({ late, failed }, "not everything closed");
    else log.info({}, "stopped");
  }
}

/** Takes the tunnels of a machine away that is no host any more, or whose host manager is not to start again. */
async function clear(config: HostConfig, log: Logger): Promise<number> {
  try {
    const tunnels = attachedOf(config, log)?.tunnels;
    await tunnels?.clear();
    tunnels?.stop();
    return 0;
  } catch (cause) {
    log.fatal({ reason: cause instanceof Error ? cause.message : String(cause) }, "tunnels are left");
    return 1;
  }
}

/** Ends when told by a signal (0), or when something happened that only a new start or a new token can mend. */
async function run(config: HostConfig, account: Account, log: Logger, shutdown: Shutdown): Promise<number> {
  const ended = Promise.withResolvers<number>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      log.info({ signal }, "stopping; VMs are left as they are");
      ended.resolve(0);
    });
  }
  makeStateFolder(config);
  const bus = busOf(config, account, log);
  let enrolling = account.enrolToken !== undefined;
  bus.onStatus(({ kind }) => {
    enrolling &&= kind !== "online";
  });
  const attached = attachedOf(config, log);
  const manager = createHostManager({
    config,
    clock: systemClock,
    rng: systemRng,
    bus,
    hypervisor: await hypervisorOf(config, log, shutdown, attached?.networks),
    ...(attached?.tunnels === undefined ? {} : { tunnels: attached.tunnels }),
    journal: levelJournal(join(config.state, "journal")),
    log,
    machineBoot: readMachineBoot(),
    machineMs: () => Number(process.hrtime.bigint() / 1_000_000n),
    onFatal: () => {
      if (bus.status.kind !== "refused") ended.resolve(1);
      else ended.resolve(enrolling ? EXIT_NOT_ENROLLED : EXIT_REFUSED);
    },
  });
  shutdown.add("host manager", () => manager.stop());
  const started = await manager.start();
  if (!started.ok) {
    log.fatal({ reason: started.error.message }, "cannot start");
    return 1;
  }
  return await ended.promise;
}

/** QEMU may run as another account, and must reach the disks of its guests: it may pass through, and see no more. */
function makeStateFolder({ state, hypervisor }: HostConfig): void {
  const hasGuests = hypervisor.kind === "libvirt" && hypervisor.embedded === undefined;
  mkdirSync(state, { recursive: true, mode: hasGuests ? 0o711 : 0o700 });
  mkdirSync(join(state, "journal"), { recursive: true, mode: 0o700 });
  chmodSync(join(state, "journal"), 0o700);
  if (hasGuests) chmodSync(state, 0o711);
}

/** Linux names every boot of the machine; elsewhere nobody does. */
function readMachineBoot(): string | undefined {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim().slice(0, 64);
  } catch {
    return undefined;
  }
}

function busOf(config: HostConfig, account: Account, log: Logger) {
  const [username] = hostAccount(config.name, config.site).split("@", 1);
  return xmppClientBus({
    clock: systemClock,
    rng: systemRng,
    service: config.xmpp.service,
    domain: config.site,
    username: username ?? config.name,
    resource: "host-manager",
    times: { backoffMaxMs: Math.min(LINK_PAUSE_MS_MAX, Math.max(1_000, 2 * config.heartbeatMs)) },
    onFault: (where, error) =>
      log.warn({ where, reason: error instanceof Error ? error.message : String(error) }, "xmpp"),
    ...account,
  });
}

async function hypervisorOf(
  config: HostConfig,
  log: Logger,
  shutdown: Shutdown,
  networks: HostNetworks | undefined,
): Promise<Hypervisor> {
  const { hypervisor: wish } = config;
  const [clock, rng] = [systemClock, systemRng];
  if (wish.kind === "simulated") return new SimulatedMachine({ clock, ...wish.simulated }).connect();
  const { readMs, orderMs, embedded: folder } = wish;
  if (folder === undefined && networks !== undefined) {
    const { socket: socketPath, uri } = wish;
    return libvirtHypervisor({
      clock,
      rng,
      readMs,
      orderMs,
      socketPath,
      uri,
      guests: guestsOf(config, wish, networks),
    });
  }
  const onEnd = (reason: string): void => log.warn({ reason }, "the private libvirtd ended; starting it again");
  if (folder === undefined) throw new Error("real guests without networks");
  const embedded = await startEmbedded({ folder, clock, rng, onEnd });
  shutdown.add("private libvirtd", () => embedded.stop());
  const { socketPath, uri } = embedded;
  return libvirtHypervisor({ clock, rng, readMs, orderMs, socketPath, uri });
}

/** What the configuration says of real guests. */
function guestsOf(
  config: HostConfig,
  wish: HostConfig["hypervisor"] & { kind: "libvirt" },
  networks: HostNetworks,
): LibvirtGuests {
  const { virtType, probeMs, stopMs, uefi, tbCacheMiB, gpus, dedicatedCpus } = wish;
  const { cacheGiB, fetchMs, stallMs } = config.imageCache;
  return new LibvirtGuests({
    clock: systemClock,
    state: config.state,
    networks,
    machineBoot: readMachineBoot(),
    cacheBytes: cacheGiB * 2 ** 30,
    fetch: { fetchMs, stallMs },
    ...{ virtType, probeMs, stopMs, uefi, tbCacheMiB, gpus },
    ...(dedicatedCpus === undefined ? {} : { dedicatedCpus }),
    ...(config.migration === undefined ? {} : { migration: config.migration }),
  });
}

/** What real guests are attached to; `undefined` where there are none. */
function attachedOf(
  config: HostConfig,
  log: Logger,
): { readonly networks: HostNetworks; readonly tunnels?: Tunnels } | undefined {
  const { hypervisor: wish, gateway, state: stateFolder, networks: wished } = config;
  if (wish.kind !== "libvirt" || wish.embedded !== undefined) return undefined;
  const networks = networksOf(config, wish);
  if (gateway === undefined) return { networks };
  const onFault = (where: string, reason: string): void => log.warn({ where, reason }, "tunnels between sites");
  const { namespace } = wished;
  const opened = openTunnels({ gateway, namespace, stateFolder, networks, clock: systemClock, onFault });
  if (!opened.ok) throw new Error(opened.error.reason);
  return opened.value;
}

/** Throws where the record of who uses what cannot be read: addresses would be given out twice. */
function networksOf(
  { networks, migration, state }: HostConfig,
  { uri, socket }: { uri: string; socket: string },
): HostNetworks {
  // As virsh takes it: the same daemon, by the same socket.
  const libvirtUri = `${uri.replace(/^(\w+):/, "$1+unix:")}?socket=${encodeURIComponent(socket)}`;
  const opened = openHostNetworks({
    config: networks,
    stateFolder: state,
    libvirtUri,
    hostAddress: migration?.address,
  });
  if (!opened.ok) throw new Error(opened.error.reason);
  return opened.value;
}

type Settings = { readonly config: HostConfig; readonly account: Account; readonly clearTunnels: boolean };

function readSettings(args: readonly string[]): Result<Settings, string> {
  const said = optionsIn(args);
  const path = said?.config;
  if (path === undefined) return err(USAGE);
  const config = readConfig(path, hostConfigSchema);
  if (!config.ok) return err(config.error.message);
  const account = readAccount(config.value, systemRng);
  if (!account.ok) return err(account.error.message);
  return ok({ config: config.value, account: account.value, clearTunnels: said?.["clear-tunnels"] === true });
}

function optionsIn(
  args: readonly string[],
): { readonly config?: string; readonly "clear-tunnels"?: boolean } | undefined {
  try {
    const options = { config: { type: "string" }, "clear-tunnels": { type: "boolean" } } as const;
    return parseArgs({ args: [...args], options }).values;
  } catch {
    return undefined;
  }
}
