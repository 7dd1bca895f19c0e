import { chmodSync, mkdirSync, rmSync, statfsSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { type Clock, err, ok, type Result, type Rng } from "@muster/base";
import { describeServerFault, ensureAuthority, type PrivateAuthority } from "@muster/xmpp-server";
import { etcdMembers } from "./plan/etcd-plan.ts";
import type { FederationPlan, FederationWish } from "./plan/federation-plan.ts";
import { EtcdRun } from "./process/etcd-run.ts";
import { testMachine } from "./process/host-machine.ts";
import type { ProcessDeath } from "./process/managed-process.ts";
import { ProcessRecord } from "./process/process-record.ts";
import type { RunContext } from "./process/run-context.ts";
import { SiteRun } from "./process/site-run.ts";
import { prepareQemu, type QemuFederation, registerAt } from "./qemu/qemu-federation.ts";
import { writeEtcdFiles } from "./state/etcd-files.ts";
import { readFederationFile, writeFederationFile } from "./state/federation-file.ts";
import { siteKeys, writeSiteFiles } from "./state/site-files.ts";
import { type StateFolder, stateFolder } from "./state/state-folder.ts";
import { takeSupervisorLock } from "./state/supervisor-lock.ts";

export type FederationOptions = {
  readonly plan: FederationPlan;
  readonly stateRoot: string;
  /** Forget everything that an earlier run left in the state folder. */
  readonly fresh: boolean;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly progress: (line: string) => void;
  /** A process that will not be started again: the federation cannot go on. */
  readonly onFatal: (death: ProcessDeath) => void;
  /** Calls the start off. */
  readonly signal: AbortSignal;
};

/** Least free space for a start; below it the stores would refuse soon after. */
const FREE_BYTES_MIN = 64 * 1024 * 1024;
const READY_TIMEOUT_MS = 60_000;
/** With real guests: libvirt takes its time where it meets QEMU for the first time. */
const QEMU_READY_TIMEOUT_MS = 180_000;

/** A whole federation on one machine, as child processes of this one. */
export class Federation {
  readonly plan: FederationPlan;
  readonly folder: StateFolder;
  readonly sites: readonly SiteRun[];
  /** The etcd of all sites, where it is the store. */
  readonly etcd: EtcdRun | undefined;
  /** How its hosts run real guests, where they do. */
  readonly qemu: QemuFederation | undefined;
  readonly #clock: Clock;
  readonly #release: () => void;
  readonly #record: ProcessRecord;
  #stopped: Promise<void> | undefined;

  private constructor(options: FederationOptions, { folder, sites, etcd, qemu, record, release }: Prepared) {
    this.plan = options.plan;
    this.folder = folder;
    this.sites = sites;
    this.etcd = etcd;
    this.qemu = qemu;
    this.#clock = options.clock;
    this.#record = record;
    this.#release = release;
  }

  /** Starts everything and waits until every site has heard its hosts. On an error nothing is left running. */
  static async start(options: FederationOptions): Promise<Result<Federation, string>> {
    const prepared = await prepare(options);
    if (!prepared.ok) return prepared;
    const federation = new Federation(options, prepared.value);
    const callOff = (): void => void federation.stop();
    options.signal.addEventListener("abort", callOff, { once: true });
    const started = options.signal.aborted ? ok(undefined) : await federation.#start(options.progress);
    options.signal.removeEventListener("abort", callOff);
    if (started.ok && !options.signal.aborted) return ok(federation);
    await federation.stop();
    if (options.signal.aborted) return err("interrupted before everything was up; what had started is stopped");
    return started.ok ? err("the federation was stopped while it started") : started;
  }

  site(name: string): SiteRun | undefined {
    return this.sites.find(({ plan }) => plan.name === name);
  }

  /** Stops every process, hosts before managers before servers and stores. State stays. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #start(progress: (line: string) => void): Promise<Result<void, string>> {
    const timeoutMs = this.qemu === undefined ? READY_TIMEOUT_MS : QEMU_READY_TIMEOUT_MS;
    const deadlineMs = this.#clock.nowMs() + timeoutMs;
    const etcd = (await this.etcd?.start(progress)) ?? ok(undefined);
    if (!etcd.ok) return etcd;
    const networks = (await this.qemu?.machines.open()) ?? ok(undefined);
    if (!networks.ok) return networks;
    const ends = await Promise.all(
      this.sites.map(async (site) => {
        const started = await site.start(progress);
        if (!started.ok) return started;
        const ready = await site.untilReady(this.#clock, deadlineMs);
        if (!ready.ok) return ready;
        progress(`${site.plan.name}: leads, ${site.hosts.length} hosts heard`);
        return this.qemu === undefined ? ready : registerAt(site, this.qemu);
      }),
    );
    return ends.find((end) => !end.ok) ?? ok(undefined);
  }

  async #stop(): Promise<void> {
    await Promise.all(this.sites.map((site) => site.stop()));
    await this.qemu?.machines.close();
    await this.etcd?.stop();
    this.#record.clear();
    this.#release();
  }
}

type Prepared = {
  readonly folder: StateFolder;
  readonly sites: readonly SiteRun[];
  readonly etcd: EtcdRun | undefined;
  readonly qemu: QemuFederation | undefined;
  readonly record: ProcessRecord;
  readonly release: () => void;
};

async function prepare(options: FederationOptions): Promise<Result<Prepared, string>> {
  const { plan, clock, rng, progress, onFatal } = options;
  const folder = stateFolder(isAbsolute(options.stateRoot) ? options.stateRoot : resolve(options.stateRoot));
  const usable = openFolder(folder.root);
  if (!usable.ok) return usable;
  const lock = takeSupervisorLock(folder.supervisorFile);
  if (!lock.ok) return lock;
  const record = new ProcessRecord(folder.processesFile);
  try {
    const left = await record.endLeftovers(clock);
    if (left.length > 0) progress(`ended what an earlier run left behind: ${left.join(", ")}`);
    if (options.fresh) forget(folder, plan);
    const kept = keptElsewhere(folder, plan.wish);
    if (kept !== undefined) return fail(lock.value, kept);
    const authority = await ensureAuthority(folder.authority, clock);
    if (!authority.ok) return fail(lock.value, describeServerFault(authority.error));
    const qemu = plan.wish.hypervisor === "qemu" ? await prepareQemu(plan, folder, clock, progress) : ok(undefined);
    if (!qemu.ok) return fail(lock.value, qemu.error);
    const context: RunContext = {
      clock,
      rng,
      record,
      logs: folder.logs,
      machineOf: (site, host, hostFolder) => {
        if (qemu.value !== undefined) return qemu.value.machines.machineOf(site, host, hostFolder);
        return plan.wish.hypervisor === "libvirt" ? testMachine(hostFolder) : undefined;
      },
      onDeath: (death: ProcessDeath) => {
        progress(`${death.name} ended (${death.how}); ${sequelOf(death)}`);
        if (death.restartInMs === undefined && death.retired === undefined) onFatal(death);
      },
    };
    const etcd = await prepareEtcd(plan, folder, authority.value, context);
    if (!etcd.ok) return fail(lock.value, etcd.error);
    const shared = { authority: authority.value, keys: siteKeys(plan, folder, rng), etcd: etcd.value?.access };
    const sites: SiteRun[] = [];
    for (const site of plan.sites) {
      const files = await writeSiteFiles(plan, site, folder, { ...shared, machines: qemu.value?.plan }, { clock, rng });
      if (!files.ok) return fail(lock.value, files.error);
      sites.push(new SiteRun(site, files.value, folder.site(site.name), context));
    }
    writeFederationFile(folder, plan);
    return ok({ folder, sites, etcd: etcd.value, qemu: qemu.value, record, release: lock.value });
  } catch (cause) {
    return fail(
      lock.value,
      `the state folder ${folder.root} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}

async function prepareEtcd(
  plan: FederationPlan,
  folder: StateFolder,
  authority: PrivateAuthority,
  context: RunContext,
): Promise<Result<EtcdRun | undefined, string>> {
  const members = etcdMembers(plan.wish);
  if (members.length === 0) return ok(undefined);
  const files = await writeEtcdFiles(members, folder.etcd, authority, context.rng);
  return files.ok ? ok(new EtcdRun(members, files.value, context)) : files;
}

/**
 * Why this federation cannot be started over what an earlier one left: its records are in the other store, while the hosts
 * remember its terms (H1), or its etcd was laid out for other addresses.
 */
function keptElsewhere(folder: StateFolder, { store, loopback }: FederationWish): string | undefined {
  const earlier = readFederationFile(folder.root);
  if (!earlier.ok) return undefined;
  const { wish } = earlier.value;
  if (wish.store !== store)
    return `the sites in ${folder.root} keep their records in ${wish.store}; start with --store ${wish.store}, or forget them with --fresh`;
  if (store === "etcd" && wish.loopback !== loopback)
    return `etcd's members in ${folder.root} have their addresses from --loopback ${wish.loopback}; start with it, or forget them with --fresh`;
  return undefined;
}

/** What follows from the end of a process. */
function sequelOf({ restartInMs, retired }: ProcessDeath): string {
  if (retired === true) return "it was removed from its site, and stays down until the next start";
  return restartInMs === undefined ? "giving up" : `starting it again in ${Math.round(restartInMs)} ms`;
}

function openFolder(root: string): Result<void, string> {
  try {
    // Whatever the umask: the XMPP server's own user has to get through to its folders.
    if (mkdirSync(root, { recursive: true }) !== undefined) chmodSync(root, 0o711);
    const { bavail, bsize } = statfsSync(root);
    if (bavail * bsize < FREE_BYTES_MIN)
      return err(
        `less than ${FREE_BYTES_MIN / 1024 / 1024} MiB are free for ${root}; free some, or choose another --state`,
      );
    return ok(undefined);
  } catch (cause) {
    return err(`the state folder ${root} cannot be made: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** Removes only what a federation of ours put there, so that a mistyped --state loses nothing else. */
function forget(folder: StateFolder, plan: FederationPlan): void {
  const earlier = readFederationFile(folder.root);
  const names = [...plan.sites, ...(earlier.ok ? earlier.value.sites : [])].map(({ name }) => name);
  for (const name of new Set(names)) rmSync(folder.site(name).root, { recursive: true, force: true });
  for (const path of [folder.authority, folder.logs, folder.etcd, folder.federationFile])
    rmSync(path, { recursive: true, force: true });
}

function fail(release: () => void, message: string): Result<never, string> {
  release();
  return err(message);
}
