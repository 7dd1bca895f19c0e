import type { SiteClient } from "@muster/client";
import { type HostView, isFinal, type VmView } from "@muster/protocol";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { type Column, formatList, formatObject } from "../output/format.ts";
import { parseDuration } from "../quantity.ts";
import { openSession } from "../session.ts";
import { confirm, print, say } from "../terminal.ts";
import { type Awaited, expectValue, type Wait, waitFor } from "../wait.ts";
import { addHostJoin } from "./host-join.ts";

const COLUMNS: readonly Column<HostView>[] = [
  { heading: "NAME", value: ({ name }) => name },
  { heading: "LIVENESS", value: ({ liveness }) => liveness },
  { heading: "CONDITION", value: ({ condition, draining }) => (draining ? "draining" : condition) },
  { heading: "VCPUS FREE", value: ({ free, promisable, total }) => `${free.vcpus}/${(promisable ?? total).vcpus}` },
  {
    heading: "MEMORY FREE MIB",
    value: ({ free, promisable, total }) => `${free.memoryMiB}/${(promisable ?? total).memoryMiB}`,
  },
  { heading: "VMS", value: ({ vms }) => vms },
  { heading: "FOREIGN", value: ({ foreignVms }) => foreignVms },
  { heading: "HYPERVISOR", value: ({ hypervisor }) => hypervisor },
];

export function addHostCommands(program: Command): void {
  const host = program.command("host").description("hypervisors of the site");
  host
    .command("list")
    .description("all hosts")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.hosts()), COLUMNS, format));
    });
  host
    .command("show <host>")
    .description("one host")
    .action(async (name: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatObject(expectValue(await client.host(name)), format));
    });
  host
    .command("enrol <host>")
    .description("let a new host in: prints the one command to run on it")
    .action(async (name: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      const enrolment = expectValue(await client.enrolHost(name));
      if (format !== "table") {
        print(formatObject(enrolment, format));
        return;
      }
      say(`run this on ${name} within ${Math.round(enrolment.expiresSeconds / 60)} minutes; it works once:`);
      print(`${enrolment.command}\n`);
    });
  addDrain(host);
  addUndrain(host);
  addHostJoin(host);
  addFence(host);
  addRemove(host);
}

function addDrain(host: Command): void {
  host
    .command("drain <host>")
    .description("empty a host: its VMs move elsewhere alive where they can, and nothing new is placed on it")
    .option("--restart", "end VMs that cannot be moved alive, and start them anew elsewhere, from their image")
    .option("--keep", "leave its VMs where they are")
    .option("--wait [duration]", "wait until it is empty", parseDuration)
    .action(async (name: string, options: DrainOptions, command: Command) => {
      if (options.restart === true && options.keep === true)
        throw new CommandFailed("--restart and --keep say opposite things: give one of them", EXIT.usage);
      const { client, format } = openSession(command);
      const policy = options.restart === true ? "restart" : options.keep === true ? "keep" : "migrate";
      const drained = expectValue(await client.drainHost(name, true, policy));
      const { shown, stopped } =
        options.wait === undefined
          ? { shown: drained, stopped: [] }
          : await waitFor(emptied(client, name), options.wait);
      print(formatList([shown], COLUMNS, format));
      if (stopped.length > 0)
        say(`${name} runs no VM; stopped ones stay there with their disks: ${stopped.map((vm) => vm.name).join(", ")}`);
    });
}

type DrainOptions = { readonly restart?: boolean; readonly keep?: boolean; readonly wait?: Wait };

/** A host on which nothing runs any more, with the VMs that are stopped there: their disks keep them. */
type Emptied = { readonly shown: HostView; readonly stopped: readonly VmView[] };

function emptied(client: SiteClient, name: string): Awaited<Emptied> {
  return {
    async read() {
      const shown = expectValue(await client.host(name));
      const there = shown.vms === 0 ? [] : expectValue(await client.vms()).filter((vm) => isOn(vm, name));
      return { shown, stopped: there.filter(({ phase, wanted }) => phase === "stopped" && wanted === "stopped") };
    },
    done: ({ shown, stopped }) => shown.vms === stopped.length,
    progress: ({ shown: { vms } }) => `${vms} ${vms === 1 ? "VM is" : "VMs are"} still on ${name}`,
    async why() {
      const vms = await client.vms();
      const kept = vms.ok ? vms.value.find((vm) => isOn(vm, name) && vm.reason !== undefined) : undefined;
      return kept === undefined ? "" : ` (${kept.name}: ${kept.reason})`;
    },
  };
}

function isOn({ place, phase }: VmView, name: string): boolean {
  return place.kind === "host" && place.host === name && !isFinal(phase);
}

function addUndrain(host: Command): void {
  host
    .command("undrain <host>")
    .description("place on a host again")
    .action(async (name: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList([expectValue(await client.drainHost(name, false))], COLUMNS, format));
    });
}

function addFence(host: Command): void {
  host
    .command("fence <host>")
    .description("vouch that a lost host is dead: its VMs may then run elsewhere")
    .option("--confirmed", "the machine is off, and will not come back with its VMs running")
    .option("--agent", "have its fence agent switch it off and confirm that, see `fencing` in cluster.yaml")
    .action(async (name: string, options: { confirmed?: boolean; agent?: boolean }, command: Command) => {
      const { client, format } = openSession(command);
      if (options.agent === true) {
        print(formatList([await fencedByAgent(client, name)], COLUMNS, format));
        return;
      }
      await confirm(`Is ${name} certainly off? If it still runs, its VMs will run twice.`, options.confirmed);
      print(formatList([expectValue(await client.fenceHost(name))], COLUMNS, format));
    });
}

/** The agent takes its time: whoever asks again hears how it ended. Bounded by the agent's own time. */
async function fencedByAgent(client: SiteClient, name: string): Promise<HostView> {
  for (;;) {
    const fenced = await client.fenceHost(name, { agent: true });
    if (fenced.ok || fenced.error.reason !== "fencing") return expectValue(fenced);
    await new Promise((resolve) => setTimeout(resolve, fenced.error.retryAfterMs ?? 1_000));
  }
}

function addRemove(host: Command): void {
  host
    .command("remove <host>")
    .description("forget an empty host and its account")
    .option("--yes", "do not ask")
    .action(async (name: string, options: { yes?: boolean }, command: Command) => {
      const { client } = openSession(command);
      await confirm(`Remove ${name}?`, options.yes);
      expectValue(await client.removeHost(name));
      say(`${name} is removed`);
    });
}
