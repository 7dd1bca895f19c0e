import { type EmbeddedDaemon, startEmbeddedDaemon } from "node-libvirt";
import type { HostPlan, SitePlan } from "../plan/federation-plan.ts";
import type { HostFolder } from "../state/state-folder.ts";
import { ManagedProcess } from "./managed-process.ts";
import { HOST_ENTRY, nodeProgram } from "./node-program.ts";
import type { RunContext } from "./run-context.ts";

/** One host: its hypervisor, which outlives its manager as on a real machine, and its host manager. */
export class HostRun {
  readonly name: string;
  readonly manager: ManagedProcess;
  readonly #context: RunContext;
  readonly #folder: HostFolder;
  #daemon: EmbeddedDaemon | undefined;
  #stopping = false;
  #daemonDeaths = 0;

  constructor(site: SitePlan, host: HostPlan, folder: HostFolder, configPath: string, context: RunContext) {
    this.name = `${site.name}/${host.name}`;
    this.#context = context;
    this.#folder = folder;
    const program = nodeProgram(HOST_ENTRY, ["--config", configPath]);
    this.manager = new ManagedProcess({
      name: `${this.name} host manager`,
      ...program,
      logPath: `${context.logs}/${site.name}-${host.name}.log`,
      clock: context.clock,
      rng: context.rng,
      record: context.record,
      onDeath: context.onDeath,
    });
  }

  /** Starts the hypervisor first; rejects when libvirtd cannot be started. */
  async start(): Promise<void> {
    if (this.#context.hypervisor === "libvirt") await this.#startDaemon();
    this.manager.start();
  }

  /** Process id of the hypervisor's daemon, for a tour or test that wants to see it die. */
  get hypervisorPid(): number | undefined {
    return this.#daemon?.pid;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.manager.stop();
    await this.#daemon?.stop();
  }

  async #startDaemon(): Promise<void> {
    const daemon = await startEmbeddedDaemon({ stateDir: this.#folder.hypervisor });
    this.#daemon = daemon;
    void daemon.exited.then(({ code, signal }) => {
      if (!this.#stopping) this.#daemonDied(signal === null ? `exit code ${code}` : `signal ${signal}`, daemon.log());
    });
  }

  #daemonDied(how: string, logTail: string): void {
    this.#daemonDeaths += 1;
    const name = `${this.name} libvirtd`;
    if (this.#daemonDeaths > DAEMON_RESTARTS_MAX) {
      this.#context.onDeath({ name, how, logTail });
      return;
    }
    const restartInMs = 500;
    this.#context.onDeath({ name, how, restartInMs, logTail });
    this.#context.clock.setTimer(restartInMs, () => {
      if (this.#stopping) return;
      this.#startDaemon().catch((cause: unknown) => this.#daemonDied(String(cause), ""));
    });
  }
}

/** Restarts of one hypervisor daemon before the supervisor gives up (S2). */
const DAEMON_RESTARTS_MAX = 5;
