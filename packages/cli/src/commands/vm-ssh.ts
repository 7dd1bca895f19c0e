import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muster/base";
import type { SiteClient } from "@muster/client";
import { isFinal, type VmView } from "@muster/protocol";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { parseDuration } from "../quantity.ts";
import { openSession } from "../session.ts";
import { say } from "../terminal.ts";
import { expectValue, type Wait } from "../wait.ts";

const WAIT_MS_DEFAULT = 180_000;
const LOOK_MS = 500;
/** How long one try to reach a guest's ssh server may take. */
const KNOCK_MS = 3_000;
const SSH_PORT = 22;

type SshOptions = { readonly user?: string; readonly identity?: string; readonly wait?: Wait };

/** Where a guest's ssh server answers. */
export type SshTarget = { readonly host: string; readonly port: number };

export function addSsh(vm: Command): void {
  vm.command("ssh <vm> [command...]")
    .description("log in to a VM with this machine's ssh, or run a command there")
    .option("-l, --user <name>", "user of the guest (or give it as user@vm; default: as ssh has it)")
    .option("-i, --identity <file>", "private key to log in with")
    .option("--wait [duration]", "wait until it runs and its ssh server answers", parseDuration)
    .addHelpText("after", HELP)
    .passThroughOptions()
    .action(async (given: string, words: string[], options: SshOptions, command: Command) => {
      const { client } = openSession(command);
      const at = given.lastIndexOf("@");
      const name = given.slice(at + 1);
      const user = options.user ?? (at > 0 ? given.slice(0, at) : undefined);
      const { domain } = expectValue(await client.site());
      const found =
        options.wait === undefined ? await targetNow(client, name) : await targetSoon(client, name, options.wait);
      const file = knownHostsFile(domain, process.env);
      const args = sshArguments({
        ...found,
        user,
        identity: options.identity,
        knownHosts: file,
        words: withoutMark(words),
      });
      process.exitCode = await runSsh(args);
    });
}

const HELP = `
Host keys are kept in a file of your own for each site, ~/.local/state/muster/known_hosts-<site>, under the VM's id: the
first key is taken, any other one is refused. What follows -- goes to the guest.`;

/** Arguments for ssh(1). Keys are known by the VM's id: its address may have been another VM's before. */
export function sshArguments(login: {
  readonly vm: VmView;
  readonly target: SshTarget;
  readonly user: string | undefined;
  readonly identity: string | undefined;
  readonly knownHosts: string;
  readonly words: readonly string[];
}): string[] {
  const { vm, target, user, identity, knownHosts, words } = login;
  return [
    ...["-o", `HostKeyAlias=vm-${vm.id}`, "-o", `UserKnownHostsFile="${knownHosts}"`],
    ...["-o", "StrictHostKeyChecking=accept-new", "-o", "CheckHostIP=no"],
    ...(target.port === SSH_PORT ? [] : ["-p", String(target.port)]),
    ...(user === undefined ? [] : ["-l", user]),
    ...(identity === undefined ? [] : ["-i", identity, "-o", "IdentitiesOnly=yes"]),
    ...["--", target.host],
    ...words,
  ];
}

/** What follows `--` is the guest's, the mark itself is not: a shell there would take it for an option of its own. */
export function withoutMark(words: readonly string[]): readonly string[] {
  return words[0] === "--" ? words.slice(1) : words;
}

/** `10.77.0.5`, `10.77.0.5:2222` where a port is forwarded, `fd00::5` or `[fd00::5]:2222`. */
export function sshTarget(address: string): SshTarget | undefined {
  const { six, four, bare, port } =
    /^(?:\[(?<six>[0-9a-f:]+)\](?::(?<sixPort>\d{1,5}))?|(?<four>[\d.]+)(?::(?<port>\d{1,5}))?|(?<bare>[0-9a-f:]+))$/.exec(
      address,
    )?.groups ?? {};
  const sixPort = /\]:(\d{1,5})$/.exec(address)?.[1];
  const host = six ?? four ?? bare;
  return host === undefined ? undefined : { host, port: Number(port ?? sixPort ?? SSH_PORT) };
}

/** The way in from outside where there is one: the address itself is behind the VM's host then. */
export function targetOf({ access, address }: Pick<VmView, "access" | "address">): SshTarget | undefined {
  if (access !== undefined) return { host: access.host, port: access.port };
  return address === undefined ? undefined : sshTarget(address);
}

/** One file a site, in the user's state folder (XDG Base Directory Specification). */
export function knownHostsFile(domain: string, env: NodeJS.ProcessEnv): string {
  const folder = join(env.XDG_STATE_HOME ?? join(env.HOME ?? homedir(), ".local", "state"), "muster");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return join(folder, `known_hosts-${domain}`);
}

type Found = { readonly vm: VmView; readonly target: SshTarget };

async function targetNow(client: SiteClient, name: string): Promise<Found> {
  const vm = expectValue(await client.vm(name));
  const reason = vm.reason === undefined ? "" : `: ${vm.reason}`;
  if (vm.phase !== "running") throw new CommandFailed(`${vm.name} is ${vm.phase}${reason}`, EXIT.failed);
  if (vm.address === undefined && vm.access === undefined)
    throw new CommandFailed(`no address of ${vm.name} is known: it is on no network that reserves one`, EXIT.failed);
  const target = targetOf(vm);
  if (target === undefined) throw new CommandFailed(`${vm.name} has no address for ssh: ${vm.address}`, EXIT.failed);
  return { vm, target };
}

/** Waits for the VM and then for its ssh server to say its name (RFC 4253 section 4.2). */
async function targetSoon(client: SiteClient, name: string, wait: Exclude<Wait, undefined>): Promise<Found> {
  const deadlineMs = systemClock.nowMs() + (wait === true ? WAIT_MS_DEFAULT : wait);
  let shown = "";
  for (;;) {
    const vm = expectValue(await client.vm(name));
    if (isFinal(vm.phase)) return targetNow(client, name);
    const target = vm.phase === "running" ? targetOf(vm) : undefined;
    if (target !== undefined && (await answers(target))) return { vm, target };
    const line =
      target === undefined ? `${vm.name} is ${vm.phase}` : `${vm.name} runs, ${target.host} does not answer yet`;
    if (line !== shown && process.stderr.isTTY) say(line);
    shown = line;
    if (systemClock.nowMs() + LOOK_MS > deadlineMs)
      throw new CommandFailed(`still waiting: ${line}; see muster vm log ${vm.name}`, EXIT.timedOut);
    await new Promise<void>((resolve) => systemClock.setTimer(LOOK_MS, resolve));
  }
}

/** Whether an ssh server greets there. */
export function answers({ host, port }: SshTarget): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(KNOCK_MS, () => end(false));
    socket.once("data", (data) => end(data.toString("latin1").startsWith("SSH-")));
    socket.once("error", () => end(false));
    socket.once("close", () => resolve(false));
  });
}

/** The terminal is ssh's own until it ends; its exit code is ours. */
function runSsh(args: readonly string[]): Promise<number> {
  const ignore = (): void => {};
  process.on("SIGINT", ignore);
  return new Promise((resolve, reject) => {
    const child = spawn("ssh", args, { stdio: "inherit" });
    child.once("error", (cause) =>
      reject(new CommandFailed(`ssh cannot be started: ${cause.message}; install openssh-client`, EXIT.failed)),
    );
    child.once("exit", (code) => resolve(code ?? EXIT.failed));
  }).finally(() => process.off("SIGINT", ignore)) as Promise<number>;
}
