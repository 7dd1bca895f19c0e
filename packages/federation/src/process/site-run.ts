import { assert, type Clock, err, ok, type Result } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import { describeServerFault, ProsodyServer } from "@muster/xmpp-server";
import { apiUrl, type SitePlan } from "../plan/federation-plan.ts";
import type { SiteFiles } from "../state/site-files.ts";
import type { SiteFolder } from "../state/state-folder.ts";
import { HostRun } from "./host-run.ts";
import { ManagedProcess } from "./managed-process.ts";
import { MANAGER_ENTRY, nodeProgram } from "./node-program.ts";
import { RestartBudget } from "./restart-budget.ts";
import type { RunContext } from "./run-context.ts";

/** One site with all its processes. */
export class SiteRun {
  readonly plan: SitePlan;
  readonly client: SiteClient;
  readonly manager: ManagedProcess;
  readonly hosts: readonly HostRun[];
  readonly #server: ProsodyServer;
  readonly #context: RunContext;
  readonly #budget: RestartBudget;
  #stopping = false;

  constructor(plan: SitePlan, files: SiteFiles, folder: SiteFolder, context: RunContext) {
    this.plan = plan;
    this.#context = context;
    this.#budget = new RestartBudget(context.rng);
    this.#server = new ProsodyServer({ site: files.server, accounts: files.accounts });
    this.client = createSiteClient({
      endpoint: { urls: [apiUrl(plan)], token: files.adminToken },
      clock: context.clock,
      rng: context.rng,
      timeoutMs: 5_000,
      patienceMs: 10_000,
    });
    this.manager = new ManagedProcess({
      name: `${plan.name} cluster manager`,
      ...nodeProgram(MANAGER_ENTRY, ["--config", files.managerConfig]),
      logPath: `${context.logs}/${plan.name}-manager-${plan.manager}.log`,
      clock: context.clock,
      rng: context.rng,
      record: context.record,
      onDeath: context.onDeath,
    });
    this.hosts = plan.hosts.map((host) => {
      const config = files.hostConfigs.get(host.name);
      assert(config !== undefined, "every planned host has a configuration");
      return new HostRun(plan, host, folder.host(host.name), config, context);
    });
    this.#server.onExit(({ expected, code, signal, logTail }) => {
      if (!expected) this.#serverDied(signal === null ? `exit code ${code}` : `signal ${signal}`, logTail.join("\n"));
    });
  }

  get serverPid(): number | undefined {
    return this.#server.pid;
  }

  /** XMPP server, then everything that links to it; the error says what to do. */
  async start(progress: (line: string) => void): Promise<Result<void, string>> {
    const server = await this.#server.start();
    if (!server.ok) return err(`${this.plan.name}: ${describeServerFault(server.error)}`);
    progress(`${this.plan.name}: XMPP server on ${this.plan.address}`);
    if (this.#stopping) return err(`${this.plan.name}: called off`);
    this.manager.start();
    try {
      await Promise.all(this.hosts.map((host) => host.start()));
    } catch (cause) {
      return err(`${this.plan.name}: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
    return ok(undefined);
  }

  /** Waits until the manager leads, every host is heard and the site has reconciled with them. */
  async untilReady(clock: Clock, deadlineMs: number): Promise<Result<void, string>> {
    let waiting = "its cluster manager to answer";
    while (clock.nowMs() < deadlineMs && !this.#stopping) {
      const state = await this.#readiness();
      if (state === "ready") return ok(undefined);
      waiting = state;
      await new Promise<void>((resolve) => clock.setTimer(50, resolve));
    }
    return err(`${this.plan.name}: still waiting for ${waiting}; see the logs in ${this.#context.logs}`);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.hosts.map((host) => host.stop()));
    await this.manager.stop();
    await this.#server.stop();
  }

  async #readiness(): Promise<"ready" | string> {
    const healthy = await answers(`${apiUrl(this.plan)}/readyz`);
    if (!healthy) return "its cluster manager to lead";
    const hosts = await this.client.hosts();
    if (!hosts.ok) return "its cluster manager to answer";
    // Hosts that were enrolled besides may run elsewhere, or not yet: only ours are waited for.
    const planned = new Set(this.plan.hosts.map(({ name }) => name));
    const silent = hosts.value.filter(({ name, liveness }) => planned.has(name) && liveness !== "alive");
    return silent.length === 0 ? "ready" : `${silent.map(({ name }) => name).join(", ")} to be heard`;
  }

  #serverDied(how: string, logTail: string): void {
    const { clock, onDeath } = this.#context;
    const name = `${this.plan.name} XMPP server`;
    const restartInMs = this.#budget.restartInMs(clock.nowMs());
    onDeath({ name, how, logTail, ...(restartInMs === undefined ? {} : { restartInMs }) });
    if (restartInMs === undefined) return;
    clock.setTimer(restartInMs, () => {
      if (!this.#stopping) void this.#restartServer();
    });
  }

  async #restartServer(): Promise<void> {
    const started = await this.#server.start();
    if (!started.ok && !this.#stopping) this.#serverDied(describeServerFault(started.error), "");
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
