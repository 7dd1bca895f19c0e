import { accessSync, constants, readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { delimiter, join } from "node:path";
import { assert, err, ok, type Result } from "@muster/base";
import { type EtcdMemberPlan, etcdArguments, etcdEndpoints } from "../plan/etcd-plan.ts";
import type { EtcdAccess } from "../plan/manager-config.ts";
import type { EtcdFiles } from "../state/etcd-files.ts";
import { ManagedProcess } from "./managed-process.ts";
import type { RunContext } from "./run-context.ts";

const READY_WITHIN_MS = 30_000;
const LOOK_MS = 50;
const ASK_MS = 1_000;

/** The etcd of a federation: members as child processes, started again when they die. */
export class EtcdRun {
  /** Members, by name. */
  readonly members: ReadonlyMap<string, ManagedProcess>;
  readonly access: EtcdAccess;
  readonly #plan: readonly EtcdMemberPlan[];
  readonly #context: Omit<RunContext, "machineOf">;
  #stopping = false;

  constructor(plan: readonly EtcdMemberPlan[], files: EtcdFiles, context: Omit<RunContext, "machineOf">) {
    this.#plan = plan;
    this.#context = context;
    this.access = files.access;
    this.members = new Map(plan.map((member) => [member.name, memberProcess(member, plan, files, context)]));
  }

  /** Starts all members and waits until each takes part under a leader. The error says what to do. */
  async start(progress: (line: string) => void): Promise<Result<void, string>> {
    if (!isInstalled("etcd"))
      return err(
        "etcd is not installed: apt-get install --no-install-recommends etcd-server, or leave --store at level",
      );
    for (const member of this.members.values()) member.start();
    const { clock, logs } = this.#context;
    const deadlineMs = clock.nowMs() + READY_WITHIN_MS;
    while (!this.#stopping) {
      const statuses = await this.statuses();
      if (statuses.every((status) => status !== undefined && status.leader !== "0")) {
        progress(`etcd: ${this.#plan.length} members on ${this.#plan.map(({ address }) => address).join(", ")}`);
        return ok(undefined);
      }
      if (clock.nowMs() > deadlineMs) return err(`etcd: its members do not find each other; see the logs in ${logs}`);
      await new Promise<void>((resolve) => clock.setTimer(LOOK_MS, resolve));
    }
    return err("etcd: called off");
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.members.values()].map((member) => member.stop()));
  }

  /** Name of the member that leads etcd, where one says so. */
  async leader(): Promise<string | undefined> {
    const statuses = await this.statuses();
    return this.#plan.find((_, index) => {
      const status = statuses[index];
      return status !== undefined && status.member === status.leader;
    })?.name;
  }

  /** What each member says of itself, in the order of the plan. */
  async statuses(): Promise<readonly (EtcdMemberStatus | undefined)[]> {
    const { caFile, certFile, keyFile } = this.access;
    const agent = new Agent({ ca: readFileSync(caFile), cert: readFileSync(certFile), key: readFileSync(keyFile) });
    try {
      return await Promise.all(etcdEndpoints(this.#plan).map((endpoint) => statusOf(endpoint, agent)));
    } finally {
      agent.destroy();
    }
  }
}

/** Ids of a member and of the one that it takes for the leader, `"0"` while there is none. */
export type EtcdMemberStatus = { readonly member: string; readonly leader: string };

function memberProcess(
  member: EtcdMemberPlan,
  members: readonly EtcdMemberPlan[],
  files: EtcdFiles,
  { clock, rng, record, logs, onDeath }: Omit<RunContext, "machineOf">,
): ManagedProcess {
  const own = files.members.get(member.name);
  assert(own !== undefined, "every planned member has its files");
  return new ManagedProcess({
    name: `etcd ${member.name}`,
    // setpriv (util-linux) has the kernel end it with the supervisor.
    command: "setpriv",
    args: ["--pdeathsig", "SIGTERM", "--", "etcd", ...etcdArguments(member, members, own)],
    logPath: join(logs, `etcd-${member.name}.log`),
    clock,
    rng,
    record,
    onDeath,
  });
}

function statusOf(endpoint: string, agent: Agent): Promise<EtcdMemberStatus | undefined> {
  return new Promise((resolve) => {
    const options = { method: "POST", timeout: ASK_MS, agent };
    const asking = request(`${endpoint}/v3/maintenance/status`, options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("error", () => resolve(undefined));
      response.on("end", () => resolve(readStatus(text)));
    });
    asking.on("timeout", () => asking.destroy(new Error("no answer")));
    asking.on("error", () => resolve(undefined));
    asking.end("{}");
  });
}

function readStatus(text: string): EtcdMemberStatus | undefined {
  try {
    const status: { readonly header?: { readonly member_id?: string }; readonly leader?: string } = JSON.parse(text);
    const member = status.header?.member_id;
    return member === undefined ? undefined : { member, leader: status.leader ?? "0" };
  } catch {
    return undefined;
  }
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
