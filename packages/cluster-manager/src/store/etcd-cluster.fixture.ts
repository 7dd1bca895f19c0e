/** Real etcd members on loopback for tests and benchmarks: started in a folder of their own, ended by process id. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type EtcdClusterOptions = {
  /** One address a member, 127.x: each listens on its ports 2379 and 2380. */
  readonly addresses: readonly string[];
  /** PEM files: members then take only TLS with certificates of this authority. */
  readonly tls?: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
  readonly flags?: readonly string[];
};

const START_MS = 20_000;
const POLL_MS = 25;

export class EtcdCluster {
  readonly folder: string;
  readonly endpoints: readonly string[];
  readonly #options: EtcdClusterOptions;
  readonly #members: (ChildProcess | undefined)[] = [];

  private constructor(folder: string, options: EtcdClusterOptions) {
    this.folder = folder;
    this.#options = options;
    const scheme = options.tls === undefined ? "http" : "https";
    this.endpoints = options.addresses.map((address) => `${scheme}://${address}:2379`);
  }

  /** Starts all members and waits until each takes part: it has a leader, or with TLS, listens. */
  static async start(options: EtcdClusterOptions): Promise<EtcdCluster> {
    const cluster = new EtcdCluster(await mkdtemp(join(tmpdir(), "muster-etcd-")), options);
    try {
      for (const index of options.addresses.keys()) cluster.#spawn(index);
      await Promise.all(options.addresses.map((_, index) => cluster.ready(index)));
      return cluster;
    } catch (cause) {
      await cluster.stop();
      throw cause;
    }
  }

  /** Index of the member that leads etcd. Not with TLS. */
  async leader(): Promise<number> {
    const ids = await Promise.all(this.endpoints.map((endpoint) => statusOf(endpoint)));
    const index = ids.findIndex((status) => status !== undefined && status.member === status.leader);
    if (index < 0) throw new Error("no etcd member leads");
    return index;
  }

  async kill(index: number): Promise<void> {
    const child = this.#members[index];
    if (child === undefined) return;
    this.#members[index] = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** SIGSTOP or SIGCONT. */
  signal(index: number, signal: "SIGSTOP" | "SIGCONT"): void {
    this.#members[index]?.kill(signal);
  }

  /** Starts a killed member again over its own data. */
  async restart(index: number): Promise<void> {
    this.#spawn(index);
    await this.ready(index);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#options.addresses.map((_, index) => this.kill(index)));
    await rm(this.folder, { recursive: true, force: true });
  }

  async ready(index: number): Promise<void> {
    const untilMs = performance.now() + START_MS;
    while (!(await this.#isReady(index))) {
      const child = this.#members[index];
      if (child === undefined || child.exitCode !== null || performance.now() > untilMs)
        throw new Error(`etcd member ${index} did not start: ${(await this.log(index)).slice(-2_000)}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  log(index: number): Promise<string> {
    return readFile(join(this.folder, `m${index}.log`), "utf8");
  }

  async #isReady(index: number): Promise<boolean> {
    const address = this.#options.addresses[index] ?? "";
    if (this.#options.tls !== undefined) return listens(address);
    const status = await statusOf(`http://${address}:2379`);
    return status !== undefined && status.leader !== "0";
  }

  #spawn(index: number): void {
    const { addresses, tls, flags = [] } = this.#options;
    const address = addresses[index] ?? "";
    const scheme = tls === undefined ? "http" : "https";
    const peers = addresses.map((peer, at) => `m${at}=http://${peer}:2380`).join(",");
    const secure =
      tls === undefined
        ? []
        : [
            `--trusted-ca-file=${tls.caFile}`,
            `--cert-file=${tls.certFile}`,
            `--key-file=${tls.keyFile}`,
            "--client-cert-auth",
          ];
    const log = openSync(join(this.folder, `m${index}.log`), "a");
    this.#members[index] = spawn(
      "etcd",
      [
        `--name=m${index}`,
        `--data-dir=${join(this.folder, `m${index}`)}`,
        `--listen-client-urls=${scheme}://${address}:2379`,
        `--advertise-client-urls=${scheme}://${address}:2379`,
        `--listen-peer-urls=http://${address}:2380`,
        `--initial-advertise-peer-urls=http://${address}:2380`,
        `--initial-cluster=${peers}`,
        `--initial-cluster-token=${this.folder}`,
        "--heartbeat-interval=50",
        "--election-timeout=500",
        "--logger=zap",
        "--log-level=warn",
        ...secure,
        ...flags,
      ],
      { stdio: ["ignore", log, log] },
    );
    closeSync(log);
  }
}

type MemberStatus = { readonly member: string; readonly leader: string };

function statusOf(endpoint: string): Promise<MemberStatus | undefined> {
  return new Promise((resolve) => {
    const asking = request(`${endpoint}/v3/maintenance/status`, { method: "POST", timeout: 1_000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => {
        const status: { header?: { member_id?: string }; leader?: string } = JSON.parse(text);
        const member = status.header?.member_id;
        resolve(member === undefined ? undefined : { member, leader: status.leader ?? "0" });
      });
    });
    asking.on("timeout", () => asking.destroy());
    asking.on("error", () => resolve(undefined));
    asking.end("{}");
  });
}

function listens(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(2379, address, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
