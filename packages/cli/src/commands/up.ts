import { DEFAULT_WISH, defaultStateRoot, HYPERVISORS, SERVERS } from "@muster/federation/state";
import { type Command, InvalidArgumentError, Option } from "commander";
import { parseCount, parseMemory } from "../quantity.ts";
import type { UpOptions } from "./up-run.ts";

export function addUpCommand(program: Command): void {
  const describe = (name: string, text: string): Command =>
    program
      .command(name)
      .description(text)
      .option("--sites <n>", "how many sites", parseCount, DEFAULT_WISH.sites)
      .option("--hosts <n>", "hosts a site", parseCount, DEFAULT_WISH.hostsPerSite)
      .option("--managers <n>", "cluster managers a site: one leads", parseCount, DEFAULT_WISH.managersPerSite)
      .addOption(
        new Option("--store <kind>", "where managers keep their records: a folder a site, or an etcd of three members")
          .choices(["level", "etcd"])
          .default(DEFAULT_WISH.store),
      )
      .option("--unpeered", "leave it to muster peer invite who is whose peer")
      .option("--loopback <n>", "sites listen on 127.0.<n>.1 and the following", parseCount, DEFAULT_WISH.loopback)
      .option(
        "--server <kind>",
        `XMPP server of every site, or of one: ${SERVERS.join(", ")}, beta=ejabberd; may be repeated`,
        parseServer,
      )
      .addOption(
        new Option("--hypervisor <kind>", "what runs the VMs")
          .choices(HYPERVISORS)
          .default(DEFAULT_WISH.hypervisor, "libvirt, its test driver"),
      )
      .addOption(
        new Option("--virt-type <type>", "with --hypervisor qemu: hardware virtualisation or emulation")
          .choices(["auto", "kvm", "qemu"])
          .default(DEFAULT_WISH.virtType),
      )
      .option("--host-cpus <n>", "vCPUs of a host", parseCount, DEFAULT_WISH.hostVcpus)
      .option(
        "--host-memory <size>",
        "memory of a host; of real ones at most their share of this machine's",
        parseMemory,
        DEFAULT_WISH.hostMemoryMiB,
      )
      .option("--fresh", "forget what an earlier run left in the state folder");
  describe("up", "run a whole federation on this machine, until interrupted")
    .option("--tour", "walk the main job on it with real requests, checking each step")
    .option("--exit", "stop everything after the start, or after the tour")
    .action(async (options: UpOptions, command: Command) => runUp(options, stateRootOf(command)));
  describe("demo", "start a federation, walk the main job on it, and stop: up --tour --exit").action(
    async (options: UpOptions, command: Command) => runUp({ ...options, tour: true, exit: true }, stateRootOf(command)),
  );
}

function stateRootOf(command: Command): string {
  return command.optsWithGlobals<{ state?: string }>().state ?? defaultStateRoot();
}

/** What runs a federation is loaded only by the commands that do: every other one starts sooner. */
async function runUp(options: UpOptions, stateRoot: string): Promise<void> {
  const up = await import("./up-run.ts");
  await up.runUp(options, stateRoot);
}

/** `ejabberd` for every site, `beta=ejabberd` for one; each time the option is given it adds to what was said before. */
function parseServer(text: string, said: UpOptions["server"] = { serverOf: {} }): UpOptions["server"] {
  const [site, kind] = text.includes("=")
    ? [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)]
    : ["", text];
  const server = SERVERS.find((known) => known === kind);
  if (server === undefined) throw new InvalidArgumentError(`expected ${SERVERS.join(" or ")}, or beta=ejabberd`);
  return site === "" ? { ...said, server } : { ...said, serverOf: { ...said.serverOf, [site]: server } };
}
