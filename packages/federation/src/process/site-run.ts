import { assert, type Clock, err, ok, type Result } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import { describeServerFault, EjabberdServer, ProsodyServer } from "@muster/xmpp-server";
import { apiUrls, type SitePlan } from "../plan/federation-plan.ts";
import type { SiteFiles } from "../state/site-files.ts";
import type { SiteFolder } from "../state/state-folder.ts";
import { HostRun } from "./host-run.ts";
import { ManagedProcess } from "./managed-process.ts";
import { MANAGER_ENTRY, nodeProgram } from "./node-program.ts";
import { RestartBudget } from "./restart-budget.ts";
import type { RunContext } from "./run-context.ts";

/** How long the first manager may take before the others are started all the same. */
const FIRST_LEADS_WITHIN_MS = 5_000;

const SERVER_NAMES = { prosody: "XMPP server", ejabberd: "XMPP server (ejabberd)" } as const;

/** One site with all its processes. */
export class SiteRun {
  readonly plan: SitePlan;
  readonly client: SiteClient;
  /** Cluster managers, by name. */
  readonly managers: ReadonlyMap<string, ManagedProcess>;
  readonly hosts: readonly HostRun[];
  readonly #server: ProsodyServer | EjabberdServer;
  readonly #context: RunContext;
  readonly #budget: RestartBudget;
  #stopping = false;

  constructor(plan: SitePlan, files: SiteFiles, folder: SiteFolder, context: RunContext) {
    this.plan = plan;
    this.#context = context;
    this.#budget = new RestartBudget(context.rng);
    const { kind, site } = files.server;
    const Server = kind === "ejabberd" ? EjabberdServer : ProsodyServer;
    this.#server = new Server({ site, accounts: files.accounts });
    this.client = createSiteClient({
      endpoint: { urls: apiUrls(plan), token: files.adminToken },
      clock: context.clock,
      rng: context.rng,
      timeoutMs: 5_000,
      patienceMs: 10_000,
    });
    this.managers = new Map(plan.managers.map(({ name }) => [name, managerProcess(plan, name, files, context)]));
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

  /** Name of the manager that leads, where one answers that it does. */
  async leader(): Promise<string | undefined> {
    const led = await Promise.all(
      this.plan.managers.map(async ({ name }, order) => ((await leads(apiUrls(this.plan)[order])) ? name : undefined)),
    );
    return led.find((name) => name !== undefined);
  }

  /** XMPP server, then everything that links to it; the error says what to do. */
  async start(progress: (line: string) => void): Promise<Result<void, string>> {
    const server = await this.#server.start();
    if (!server.ok) return err(`${this.plan.name}: ${describeServerFault(server.error)}`);
    progress(`${this.plan.name}: ${SERVER_NAMES[this.plan.server]} on ${this.plan.address}`);
    if (this.#stopping) return err(`${this.plan.name}: called off`);
    const [first, ...others] = this.managers.values();
    first?.start();
    try {
      await Promise.all(this.hosts.map((host) => host.start()));
    } catch (cause) {
      return err(`${this.plan.name}: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
    // The first one is to lead, so that a fresh federation looks the same each time.
    await this.#untilLed();
    for (const manager of others) manager.start();
    return ok(undefined);
  }

  /** Waits until the manager leads, every host is heard and the site has reconciled with them. */
  async untilReady(clock: Clock, deadlineMs: number): Promise<Result<void, string>> {
    let waiting = "a cluster manager to answer";
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
    // Those that wait first: none of them is to take over from a leader that stops.
    const leader = await this.leader();
    await Promise.all([...this.managers].map(([name, manager]) => (name === leader ? undefined : manager.stop())));
    await Promise.all([...this.managers.values()].map((manager) => manager.stop()));
    await this.#server.stop();
  }

  async #untilLed(): Promise<void> {
    const { clock } = this.#context;
    const deadlineMs = clock.nowMs() + FIRST_LEADS_WITHIN_MS;
    while (!this.#stopping && clock.nowMs() < deadlineMs && (await this.leader()) === undefined)
      await new Promise<void>((resolve) => clock.setTimer(50, resolve));
  }

  async #readiness(): Promise<"ready" | string> {
    const site = await this.client.site();
    if (!site.ok) return "a cluster manager to lead";
    if (!site.value.reconciled) return "its hosts to be heard";
    if (site.value.managers.length < this.plan.managers.length) return "all its cluster managers";
    const hosts = await this.client.hosts();
    if (!hosts.ok) return "a cluster manager to answer";
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

function managerProcess(plan: SitePlan, name: string, files: SiteFiles, context: RunContext): ManagedProcess {
  const config = files.managerConfigs.get(name);
  assert(config !== undefined, "every planned manager has a configuration");
  return new ManagedProcess({
    name: `${plan.name} cluster manager ${name}`,
    ...nodeProgram(MANAGER_ENTRY, ["--config", config]),
    logPath: `${context.logs}/${plan.name}-manager-${name}.log`,
    clock: context.clock,
    rng: context.rng,
    record: context.record,
    onDeath: context.onDeath,
  });
}

/** Whether the manager there leads: one that waits says so under `/readyz`, a leader is ready or says what it lacks. */
async function leads(url = ""): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(500) });
    const body = await response.text();
    return response.ok || !body.includes('"not-leader"');
  } catch {
    return false;
  }
}
