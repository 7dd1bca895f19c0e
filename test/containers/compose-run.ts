import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import type { ComposeFile } from "./compose-schema.ts";

const TOP = join(import.meta.dirname, "..", "..");
/** Where the image keeps the parts' folders. */
const VOLUMES = "/var/lib/muster";
const STOP_PATIENCE_MS = 10_000;
const LOG_CHARACTERS_MAX = 4_000;

type Service = ComposeFile["services"][string];
type Running = { readonly child: ChildProcess; readonly log: () => string };

export type ComposeRunOptions = {
  readonly file: ComposeFile;
  /** Folder in place of `/var/lib/muster`; each service gets a folder of its own beside it in place of its `/tmp`. */
  readonly volumes: string;
  readonly scratch: string;
  /** Address of this machine in place of those that a word of this service's command names. */
  readonly address: (service: string, text: string) => string;
  /** Services that must not run as root, with whom to run them as where we are root. */
  readonly runAs: (service: string) => { readonly uid: number; readonly gid: number } | undefined;
};

/** Runs services of a Compose file by hand: their commands, their order, their health checks; no engine. */
export class ComposeRun {
  readonly #options: ComposeRunOptions;
  readonly #running = new Map<string, Running>();
  readonly #entrypoint: readonly string[];
  readonly #env: Readonly<Record<string, string>>;

  constructor(options: ComposeRunOptions) {
    this.#options = options;
    const image = readFileSync(join(TOP, "Dockerfile"), "utf8").replace(/\\\n\s*/g, "");
    this.#entrypoint = z.array(z.string()).parse(JSON.parse(/^ENTRYPOINT (.*)$/m.exec(image)?.[1] ?? "null"));
    const [, env = ""] = /^ENV (.*)$/m.exec(image) ?? [];
    this.#env = Object.fromEntries(
      env.split(/\s+/).map((pair): [string, string] => [pair.split("=")[0] ?? "", pair.split("=")[1] ?? ""]),
    );
  }

  /** The command of a one-off service, run to its end. */
  async once(service: string): Promise<{ readonly code: number | null; readonly log: string }> {
    const { child, log } = this.#spawn(service, this.#command(service));
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { code, log: log() };
  }

  /** Starts all services that stay, each as soon as what it depends on is healthy, and waits until all are. */
  async up(withinMs: number): Promise<void> {
    const deadlineMs = performance.now() + withinMs;
    const names = Object.keys(this.#options.file.services).filter((name) => this.#service(name).restart !== "no");
    const healthy = new Map<string, Promise<void>>();
    const start = (name: string): Promise<void> => {
      const known = healthy.get(name);
      if (known !== undefined) return known;
      const begun = (async () => {
        const needed = Object.keys(this.#service(name).depends_on ?? {}).filter((other) => names.includes(other));
        await Promise.all(needed.map(start));
        this.#running.set(name, this.#spawn(name, this.#command(name)));
        await this.#untilHealthy(name, deadlineMs);
      })();
      healthy.set(name, begun);
      return begun;
    };
    await Promise.all(names.map(start));
  }

  /** Kills a service and starts it again, as an engine does with one that died; waits until it is healthy. */
  async crash(name: string, withinMs: number): Promise<void> {
    const running = this.#running.get(name);
    if (running === undefined) throw new Error(`${name} does not run`);
    const ended = new Promise((resolve) => running.child.once("exit", resolve));
    running.child.kill("SIGKILL");
    await ended;
    this.#running.set(name, this.#spawn(name, this.#command(name)));
    await this.#untilHealthy(name, performance.now() + withinMs);
  }

  /** Stops everything, those first that depend on others; returns the names of those that did not end by themselves. */
  async down(): Promise<readonly string[]> {
    const killed: string[] = [];
    for (const wave of [/-host-\d$/, /-libvirt$|-cluster-manager$/, /-xmpp$/]) {
      const stopping = [...this.#running].filter(([name]) => wave.test(name));
      await Promise.all(
        stopping.map(async ([name, { child }]) => {
          this.#running.delete(name);
          if (child.exitCode !== null || child.signalCode !== null) return;
          const ended = new Promise<true>((resolve) => child.once("exit", () => resolve(true)));
          child.kill("SIGTERM");
          if (await Promise.race([ended, pause(STOP_PATIENCE_MS, false, { ref: false })])) return;
          killed.push(name);
          child.kill("SIGKILL");
          await ended;
        }),
      );
    }
    return killed;
  }

  /** The end of what a running service wrote since its start. */
  logOf(name: string): string {
    return this.#running.get(name)?.log() ?? "";
  }

  /** Services that have ended although they should stay, with the end of what they wrote. */
  fallen(): readonly string[] {
    return [...this.#running]
      .filter(([, { child }]) => child.exitCode !== null || child.signalCode !== null)
      .map(([name, { log }]) => `${name}: ${log()}`);
  }

  async #untilHealthy(name: string, deadlineMs: number): Promise<void> {
    const { healthcheck } = this.#service(name);
    if (healthcheck === undefined) return;
    const [, ...test] = healthcheck.test;
    for (;;) {
      const { child, log } = this.#spawn(name, test);
      const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
      if (code === 0) return;
      const own = this.#running.get(name);
      const ended = own?.child.exitCode ?? own?.child.signalCode;
      if (performance.now() > deadlineMs || (ended !== null && ended !== undefined))
        throw new Error(`${name} is not healthy (${ended ?? "runs"}): ${log()} ${own?.log()}`);
      await pause(100);
    }
  }

  #service(name: string): Service {
    const service = this.#options.file.services[name];
    if (service === undefined) throw new Error(`no service ${name}`);
    return service;
  }

  #command(name: string): readonly string[] {
    const { entrypoint = this.#entrypoint, command = [] } = this.#service(name);
    return [...entrypoint, ...command];
  }

  #spawn(name: string, words: readonly string[]): Running {
    const { runAs } = this.#options;
    const scratch = join(this.#options.scratch, name);
    mkdirSync(scratch, { recursive: true, mode: 0o700 });
    const own = (text: string): string => this.#options.address(name, this.#placed(text, scratch));
    const env = Object.entries({ ...this.#env, ...this.#service(name).environment });
    const [program = "", ...args] = words.map(own);
    // The image's Node is the one that we run on.
    const child = spawn(program === "node" ? process.execPath : program, args, {
      cwd: runAs(name) === undefined ? TOP : "/",
      env: { PATH: process.env.PATH ?? "", ...Object.fromEntries(env.map(([key, value]) => [key, own(value)])) },
      stdio: ["ignore", "pipe", "pipe"],
      ...runAs(name),
    });
    let log = "";
    const keep = (chunk: unknown): void => {
      log = (log + String(chunk)).slice(-LOG_CHARACTERS_MAX);
    };
    for (const stream of [child.stdout, child.stderr]) stream.on("data", keep);
    child.once("error", (cause) => keep(cause.message));
    return { child, log: () => log };
  }

  #placed(text: string, scratch: string): string {
    if (text === VOLUMES || text.startsWith(`${VOLUMES}/`)) return this.#options.volumes + text.slice(VOLUMES.length);
    if (text.startsWith("/tmp/")) return scratch + text.slice("/tmp".length);
    return text.replaceAll(`=${VOLUMES}/`, `=${this.#options.volumes}/`);
  }
}
