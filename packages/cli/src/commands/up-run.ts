import { totalmem } from "node:os";
import { systemClock, systemRng } from "@muster/base";
import {
  DEFAULT_WISH,
  Federation,
  followPlainly,
  type HypervisorKind,
  LiveView,
  type ProcessDeath,
  planFederation,
  runTour,
  type ServerKind,
} from "@muster/federation";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { say, useColor } from "../terminal.ts";

/** Options of `muster up` as the command line hands them over. */
export type UpOptions = {
  readonly sites: number;
  readonly hosts: number;
  readonly managers: number;
  readonly store: "level" | "etcd";
  readonly loopback: number;
  readonly server?: { readonly server?: ServerKind; readonly serverOf: Readonly<Record<string, ServerKind>> };
  readonly hypervisor: HypervisorKind;
  readonly virtType: "auto" | "kvm" | "qemu";
  readonly hostCpus: number;
  readonly hostMemory: number;
  readonly unpeered?: boolean;
  readonly fresh?: boolean;
  readonly tour?: boolean;
  readonly exit?: boolean;
};

/** Starts the federation, walks the tour where asked, and shows it until it is to end. */
export async function runUp(options: UpOptions, stateRoot: string): Promise<void> {
  const plan = planFederation({
    ...DEFAULT_WISH,
    sites: options.sites,
    hostsPerSite: options.hosts,
    managersPerSite: options.managers,
    store: options.store,
    peering: options.unpeered === true ? "none" : "configured",
    loopback: options.loopback,
    ...options.server,
    hypervisor: options.hypervisor,
    virtType: options.virtType,
    hostVcpus: options.hostCpus,
    hostMemoryMiB: hostMemoryMiB(options),
  });
  if (!plan.ok) throw new CommandFailed(plan.error, EXIT.usage);
  if (options.tour === true && options.sites < 2)
    throw new CommandFailed("the tour needs two sites: leave --sites at 2 or more", EXIT.usage);
  if (options.tour === true && options.unpeered === true)
    throw new CommandFailed("the tour bursts to a peer: leave --unpeered out", EXIT.usage);
  if (options.tour === true && options.hypervisor === "qemu")
    throw new CommandFailed("the tour is for hosts without real guests: leave --hypervisor qemu out", EXIT.usage);
  // What the parts write is their owner's alone, whatever the shell's umask; folders to pass through say so themselves.
  process.umask(0o077);
  const ending = new Ending();
  const startedMs = systemClock.nowMs();
  let tell = say;
  const started = await Federation.start({
    plan: plan.value,
    stateRoot,
    fresh: options.fresh === true,
    clock: systemClock,
    rng: systemRng,
    progress: (line) => tell(line),
    onFatal: (death) => ending.fail(death),
    signal: ending.signal,
  });
  if (!started.ok) throw new CommandFailed(ending.message === "" ? started.error : ending.message, EXIT.failed);
  const federation = started.value;
  say(
    `${plan.value.sites.length} sites are up after ${((systemClock.nowMs() - startedMs) / 1000).toFixed(1)} s; state in ${federation.folder.root}`,
  );
  try {
    if (options.tour === true && !ending.signal.aborted) await tour(federation, ending);
    if (options.exit !== true && !ending.signal.aborted)
      tell = await watch(federation, ending, (line) => {
        tell = line;
      });
  } finally {
    tell = say;
    say("stopping");
    await federation.stop();
    say("stopped; nothing is left running, the state is kept");
  }
  if (ending.exitCode !== EXIT.done) throw new CommandFailed(ending.message, ending.exitCode);
}

/** Real guests take real memory: hosts promise no more of it than their part of three quarters of what this machine has. */
function hostMemoryMiB({ hypervisor, hostMemory, sites, hosts }: UpOptions): number {
  if (hypervisor !== "qemu") return hostMemory;
  const shareMiB = Math.floor((totalmem() / 2 ** 20) * 0.75) / (sites * hosts);
  return Math.min(hostMemory, Math.max(128, Math.floor(shareMiB)));
}

/** When and why it is to end: interrupted, a part that cannot be kept running, or a tour that failed. */
class Ending {
  readonly #abort = new AbortController();
  exitCode: number = EXIT.done;
  message = "";

  constructor() {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => this.#abort.abort());
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  fail(death: ProcessDeath): void {
    this.set(
      EXIT.failed,
      `${death.name} cannot be kept running (${death.how})${death.logTail === "" ? "" : `; its last words:\n${death.logTail}`}`,
    );
    this.#abort.abort();
  }

  set(exitCode: number, message: string): void {
    this.exitCode = exitCode;
    this.message = message;
  }

  wait(): Promise<void> {
    return new Promise((resolve) => {
      if (this.signal.aborted) resolve();
      this.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }
}

async function tour(federation: Federation, ending: Ending): Promise<void> {
  const walk = runTour(federation, {
    clock: systemClock,
    rng: systemRng,
    say: (line) => process.stdout.write(`${line}\n`),
  });
  const report = await Promise.race([walk, ending.wait()]);
  if (report === undefined) {
    if (ending.exitCode === EXIT.done) ending.set(EXIT.failed, "the tour was interrupted");
    return;
  }
  process.stdout.write(`${report.passed} passed, ${report.failed} failed\n`);
  if (report.failed > 0) ending.set(EXIT.failed, "the tour failed");
}

/** Shows the federation until it is to end. */
async function watch(
  federation: Federation,
  ending: Ending,
  setTell: (tell: (line: string) => void) => void,
): Promise<(line: string) => void> {
  const sites = federation.sites.map(({ plan, client }) => ({ name: plan.name, client }));
  const hints = federation.qemu === undefined ? HINTS : QEMU_HINTS;
  if (!process.stdout.isTTY) {
    for (const hint of hints) say(hint);
    await Promise.race([
      followPlainly(sites, (line) => process.stdout.write(`${line}\n`), ending.signal),
      ending.wait(),
    ]);
    return say;
  }
  const view = new LiveView({
    sites,
    hints,
    output: process.stdout,
    clock: systemClock,
    color: useColor(process.stdout),
  });
  setTell((line) => view.say(line));
  view.start();
  await ending.wait();
  view.stop();
  return say;
}

const HINTS = [
  "try in another terminal:",
  "  ./muster host list",
  "  ./muster vm create --name web --image debian-12 --cpus 2 --memory 2GiB --wait",
  "  ./muster vm create --name big --image debian-12 --cpus 4 --count 4 --burst allow",
  "  ./muster vm why big-4        ./muster --site beta lease list        ./muster doctor",
  "Ctrl-C stops everything; the state is kept",
];

const QEMU_HINTS = [
  "try in another terminal (image small and network lan are there; any ssh key will do):",
  "  ./muster vm create --name web --image small --memory 128MiB --disk 1GiB --ssh-key ~/.ssh/id_ed25519.pub --wait",
  "  ./muster vm ssh web -- count              ./muster vm log web        ./muster vm console web",
  "  ./muster image list        ./muster network list        ./muster vm delete web --yes --wait",
  "Ctrl-C stops everything, guests included; disks and state are kept, and the next start brings the VMs back",
];
