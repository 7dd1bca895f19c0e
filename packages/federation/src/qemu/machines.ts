import { mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { type Clock, err, ok, type Result } from "@muster/base";
import { type PrivateDaemon, startQemuDaemon } from "node-libvirt";
import type { HostPlan, SitePlan } from "../plan/federation-plan.ts";
import type { HostMachine } from "../process/host-machine.ts";
import { runProgram } from "../process/run-program.ts";
import type { HostFolder } from "../state/state-folder.ts";
import { shutDownGuests } from "./guest-shutdown.ts";
import { interfacesNamed, ipBatch, namespacesNamed } from "./ip-batch.ts";
import { HOST_BRIDGE, type HostMachinePlan, type MachinePlan, type SiteMachinePlan } from "./machine-plan.ts";
import { ShortPath } from "./short-path.ts";

export type QemuMachinesOptions = {
  /** Absent: no rights for namespaces, libvirt runs as this process's user and guests have user networking. */
  readonly plan?: MachinePlan;
  /** Where libvirt keeps what it found out about QEMU, for all hosts and between runs. */
  readonly cacheFolder: string;
  readonly clock: Clock;
};

const READY_MS = 90_000;

/** The machines of a federation with real guests: bridges of its sites, and a namespace with a libvirtd for each host. */
export class QemuMachines {
  readonly #options: QemuMachinesOptions;
  #first: Promise<unknown> | undefined;

  constructor(options: QemuMachinesOptions) {
    this.#options = options;
  }

  /** Clears what an earlier run left, and makes the networks of all sites. */
  async open(): Promise<Result<void, string>> {
    const { plan } = this.#options;
    if (plan === undefined) return ok(undefined);
    await this.#clear(plan);
    for (const site of plan.sites.values()) {
      const made = await ipBatch(siteCommands(site));
      if (!made.ok) return err(`the networks of ${site.name} cannot be made: ${made.error}`);
    }
    return ok(undefined);
  }

  machineOf(site: SitePlan, host: HostPlan, folder: HostFolder): HostMachine {
    const { plan, cacheFolder, clock } = this.#options;
    const machine = plan?.sites.get(site.name)?.hosts.get(host.name);
    const bridges = plan?.sites.get(site.name);
    const short = machine === undefined ? new ShortPath(folder.hypervisor) : undefined;
    const start = (): Promise<PrivateDaemon> =>
      startQemuDaemon({
        stateDir: short?.path ?? folder.hypervisor,
        startTimeoutMs: READY_MS,
        cacheDir: join(cacheFolder, machine === undefined ? "session" : "system"),
        ...(machine === undefined
          ? { mode: "session" }
          : {
              mode: "system",
              hostUuid: machine.uuid,
              host: { namespace: machine.namespace, name: `${host.name}.${site.domain}` },
            }),
      });
    const firstAlone = (work: () => Promise<PrivateDaemon>): Promise<PrivateDaemon> => this.#firstAlone(work);
    return {
      async start() {
        if (machine !== undefined && bridges !== undefined) await ensureNamespace(machine, bridges);
        if (short !== undefined) {
          mkdirSync(folder.hypervisor, { recursive: true, mode: 0o700 });
          short.make();
        }
        return firstAlone(start);
      },
      async stop(daemon) {
        if (daemon !== undefined) await shutDownGuests(daemon, clock);
        await daemon?.stop();
        await endGuests(join(folder.hypervisor, "run"), clock);
        short?.remove();
        if (machine !== undefined) await runProgram("ip", ["netns", "del", machine.namespace]);
      },
    };
  }

  /** Takes the networks away; hosts have been stopped. */
  async close(): Promise<void> {
    if (this.#options.plan !== undefined) await this.#clear(this.#options.plan);
  }

  /** What the first libvirtd finds out about QEMU, which takes it seconds, the others read from the folder that they share. */
  #firstAlone(start: () => Promise<PrivateDaemon>): Promise<PrivateDaemon> {
    const first = this.#first;
    if (first !== undefined) return first.then(start, start);
    const started = start();
    this.#first = started;
    return started;
  }

  async #clear({ tag }: MachinePlan): Promise<void> {
    for (const namespace of await namespacesNamed(`${tag}-`)) {
      await endAllIn(namespace, this.#options.clock);
      await runProgram("ip", ["netns", "del", namespace]);
    }
    for (const name of await interfacesNamed(tag)) await runProgram("ip", ["link", "del", name]);
  }
}

/** Both bridges of a site; this machine has an address in the network of the guests only. */
function siteCommands({ lanBridge, lanAddress, underlayBridge }: SiteMachinePlan): readonly string[] {
  return [
    `link add ${lanBridge} type bridge forward_delay 0`,
    `addr add ${lanAddress}/24 dev ${lanBridge}`,
    `link set ${lanBridge} up`,
    `link add ${underlayBridge} type bridge forward_delay 0`,
    `link set ${underlayBridge} addrgenmode none`,
    `link set ${underlayBridge} up`,
  ];
}

async function ensureNamespace(machine: HostMachinePlan, site: SiteMachinePlan): Promise<void> {
  const { namespace, lanCable, lanAddress, underlayCable, underlayAddress } = machine;
  if ((await namespacesNamed(namespace)).includes(namespace)) return;
  const steps = [
    await ipBatch([
      `netns add ${namespace}`,
      `link add ${lanCable} type veth peer name lan0 netns ${namespace}`,
      `link set ${lanCable} master ${site.lanBridge} up`,
      `link add ${underlayCable} type veth peer name under0 netns ${namespace}`,
      `link set ${underlayCable} master ${site.underlayBridge} up`,
    ]),
    await ipBatch(
      [
        "link set lo up",
        `link add ${HOST_BRIDGE} type bridge forward_delay 0`,
        `link set ${HOST_BRIDGE} addrgenmode none`,
        `addr add ${lanAddress}/24 dev ${HOST_BRIDGE}`,
        `link set ${HOST_BRIDGE} up`,
        `link set lan0 master ${HOST_BRIDGE} up`,
        `addr add ${underlayAddress}/24 dev under0`,
        "link set under0 up",
        `route add default via ${site.lanAddress}`,
      ],
      namespace,
    ),
  ];
  for (const step of steps) if (!step.ok) throw new Error(`the machine ${namespace} cannot be made: ${step.error}`);
}

/** Guests outlive their libvirtd; each has left its process id in a file. */
async function endGuests(runFolder: string, clock: Clock): Promise<void> {
  const files = listed(runFolder).filter((path) => /(?:^|\/)qemu\/(?:run\/)?[^/]+\.pid$/.test(path));
  const pids = files.map((path) => Number(readText(join(runFolder, path)))).filter((pid) => isQemu(pid));
  await endProcesses(pids, clock);
}

/** For what a run left behind that was killed itself: libvirtd, dnsmasq and guests, whoever is in the namespace. */
async function endAllIn(namespace: string, clock: Clock): Promise<void> {
  const shown = await runProgram("ip", ["netns", "pids", namespace]);
  if (shown.ok) await endProcesses(shown.value.split("\n").map(Number), clock);
}

async function endProcesses(pids: readonly number[], clock: Clock): Promise<void> {
  const alive = (): readonly number[] => pids.filter((pid) => pid > 1 && isAlive(pid));
  for (const pid of alive()) process.kill(pid, "SIGKILL");
  const deadlineMs = clock.nowMs() + 5_000;
  while (alive().length > 0 && clock.nowMs() < deadlineMs)
    await new Promise<void>((resolve) => clock.setTimer(20, resolve));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function isQemu(pid: number): boolean {
  try {
    return Number.isInteger(pid) && pid > 1 && basename(readlinkSync(`/proc/${pid}/exe`)).startsWith("qemu-system");
  } catch {
    return false;
  }
}

function listed(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: "utf8" });
  } catch {
    return [];
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
