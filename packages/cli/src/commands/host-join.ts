import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describeFaults } from "@muster/base";
import { decodeJoinBundle, hostAccount, type JoinBundle } from "@muster/protocol";
import { type Command, Option } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { hostManagerCommand, runHostManager } from "../join/host-process.ts";
import { type JoinFolder, writeJoinFolder } from "../join/join-folder.ts";
import { type JoinOptions, readJoinWish } from "../join/join-wish.ts";
import { parseCount, parseDisk, parseMemory } from "../quantity.ts";
import { print, say } from "../terminal.ts";

/** `--state` is the option that every command has; here it is the host's own folder. */
type Options = JoinOptions & { readonly start: boolean; readonly state?: string };

const HOSTS_FOLDER = "/var/lib/muster/hosts";

/** `muster host join`: run on a new host with what `muster host enrol` printed for it. */
export function addHostJoin(host: Command): void {
  const list = (item: string, items: readonly string[]): readonly string[] => [...items, item];
  host
    .command("join <bundle>")
    .description('make this machine a host: run what "muster host enrol" printed ("-" reads the bundle from stdin)')
    .option("--state <dir>", `folder of the host manager (default: ${HOSTS_FOLDER}/<name>)`)
    .addOption(
      new Option("--hypervisor <kind>", "what runs the VMs").choices(["libvirt", "simulated"]).default("libvirt"),
    )
    .option("--uri <uri>", "libvirt's connection URI (default: qemu:///system)")
    .option("--socket <path>", "socket of libvirt's daemon (default: /run/libvirt/libvirt-sock)")
    .option("--embedded", "bring a libvirtd of its own, with libvirt's test driver, for trials")
    .option("--cpus <n>", "vCPUs of this machine (default: as the hypervisor reports)", parseCount)
    .option("--memory <size>", "memory of this machine", parseMemory)
    .option("--disk <size>", "disk for VMs", parseDisk)
    .option("--gpus <n>", "GPUs of this machine", parseCount)
    .option("--label <key=value>", "what VMs can ask for; repeatable", list, [])
    .option("--image <tag>", "image that is present here; repeatable", list, [])
    .option("--no-start", "only write the folder; start the host manager later")
    .action(async (text: string, _options: object, command: Command) => {
      await joinHost(text, command.optsWithGlobals<Options>());
    });
}

async function joinHost(text: string, options: Options): Promise<void> {
  const bundle = readBundle(text);
  const wish = readJoinWish(options);
  if (!wish.ok) throw new CommandFailed(wish.error, EXIT.usage);
  const folder = resolve(options.state ?? `${HOSTS_FOLDER}/${bundle.name}`);
  const written = writeJoinFolder(folder, bundle, wish.value);
  if (!written.ok) throw new CommandFailed(written.error, EXIT.failed);
  const { configPath } = written.value;
  say(`${hostAccount(bundle.name, bundle.site)}: configuration and secrets are in ${folder}`);
  if (!options.start) {
    say("start its host manager, before the token expires, with:");
    print(`${hostManagerCommand(configPath)}\n`);
    return;
  }
  say("the host manager runs; Ctrl-C stops it and leaves all VMs as they are; start it again with:");
  say(`  ${hostManagerCommand(configPath)}`);
  await run(bundle, written.value);
}

async function run(bundle: JoinBundle, { configPath, undo }: JoinFolder): Promise<void> {
  const end = await runHostManager(configPath);
  switch (end.kind) {
    case "stopped":
      return;
    case "not-enrolled":
      undo();
      throw new CommandFailed(
        `${bundle.site} does not let this host in: the token was used, has expired, was withdrawn, or is for another ` +
          `host than ${bundle.name}; ask for a new one with: muster host enrol ${bundle.name}`,
        EXIT.notAllowed,
      );
    case "failed":
      throw new CommandFailed(`the host manager ended (${end.how}); its last lines say why`, EXIT.failed);
  }
}

function readBundle(text: string): JoinBundle {
  const bundle = decodeJoinBundle(text === "-" ? readFileSync(0, "utf8").trim() : text);
  if (bundle.ok) return bundle.value;
  throw new CommandFailed(`the bundle: ${describeFaults(bundle.error)}`, EXIT.usage);
}
