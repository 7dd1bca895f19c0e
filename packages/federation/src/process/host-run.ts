import { existsSync } from "node:fs";
import { join } from "node:path";
import type { HostPlan, SitePlan } from "../plan/federation-plan.ts";
import type { HostFolder } from "../state/state-folder.ts";
import type { HostDaemon, HostMachine } from "./host-machine.ts";
import { ManagedProcess } from "./managed-process.ts";
import { HOST_ENTRY, nodeProgram } from "./node-program.ts";
import { RestartBudget } from "./restart-budget.ts";
import type { RunContext } from "./run-context.ts";
import { runProgram } from "./run-program.ts";

/** Exit code of a host manager whose account is refused: the host was removed from its site. */
const EXIT_REFUSED = 5;

/** One host: its hypervisor, which outlives its manager as on a real machine, and its host manager. */
export class HostRun {
  readonly name: string;
  readonly manager: ManagedProcess;
  readonly #context: RunContext;
  readonly #machine: HostMachine | undefined;
  #daemon: HostDaemon | undefined;
  readonly #budget: RestartBudget;
  readonly #folder: HostFolder;
  readonly #configPath: string;
  /** A start of the daemon under way. */
  #starting: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(site: SitePlan, host: HostPlan, folder: HostFolder, configPath: string, context: RunContext) {
    this.name = `${site.name}/${host.name}`;
    this.#context = context;
    this.#folder = folder;
    this.#configPath = configPath;
    this.#machine = context.machineOf(site, host, folder);
    this.#budget = new RestartBudget(context.rng);
    const program = nodeProgram(HOST_ENTRY, ["--config", configPath]);
    this.manager = new ManagedProcess({
      name: `${this.name} host manager`,
      ...program,
      logPath: `${context.logs}/${site.name}-${host.name}.log`,
      clock: context.clock,
      rng: context.rng,
      record: context.record,
      retiresWith: EXIT_REFUSED,
      onDeath: context.onDeath,
    });
  }

  /** Starts the hypervisor first; rejects when libvirtd cannot be started. */
  async start(): Promise<void> {
    if (this.#machine !== undefined) await this.#startDaemon(this.#machine);
    this.manager.start();
  }

  /** Process id of the hypervisor's daemon, for a tour or test that wants to see it die. */
  get hypervisorPid(): number | undefined {
    return this.#daemon?.pid;
  }

  /** Manager first; also ends a daemon that is only just starting. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.manager.stop();
    // Whoever began the start hears of its failure.
    await this.#starting.catch(() => undefined);
    await this.#clearTunnels();
    await this.#machine?.stop(this.#daemon);
  }

  /** Tunnels outlive their host manager, as guests do: the federation ends, and they are to end with it. */
  async #clearTunnels(): Promise<void> {
    if (!existsSync(join(this.#folder.root, "state", "tunnels.json"))) return;
    const { command, args } = nodeProgram(HOST_ENTRY, ["--config", this.#configPath, "--clear-tunnels"]);
    await runProgram(command, args);
  }

  #startDaemon(machine: HostMachine): Promise<void> {
    this.#starting = this.#openDaemon(machine);
    return this.#starting;
  }

  async #openDaemon(machine: HostMachine): Promise<void> {
    const daemon = await machine.start();
    this.#daemon = daemon;
    void daemon.exited.then(({ code, signal }) => {
      if (this.#stopping) return;
      this.#daemonDied(machine, signal === null ? `exit code ${code}` : `signal ${signal}`, daemon.log());
    });
  }

  #daemonDied(machine: HostMachine, how: string, logTail: string): void {
    const { clock, onDeath } = this.#context;
    const name = `${this.name} libvirtd`;
    const restartInMs = this.#budget.restartInMs(clock.nowMs());
    onDeath({ name, how, logTail, ...(restartInMs === undefined ? {} : { restartInMs }) });
    if (restartInMs === undefined) return;
    clock.setTimer(restartInMs, () => {
      if (this.#stopping) return;
      this.#startDaemon(machine).catch((cause: unknown) =>
        this.#daemonDied(machine, cause instanceof Error ? cause.message : String(cause), ""),
      );
    });
  }
}
