import type { HostView } from "@muster/protocol";
import type { Command } from "commander";
import { type Column, formatList, formatObject } from "../output/format.ts";
import { openSession } from "../session.ts";
import { confirm, print, say } from "../terminal.ts";
import { expectValue } from "../wait.ts";
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
  for (const draining of [true, false]) addDrain(host, draining);
  addHostJoin(host);
  addFence(host);
  addRemove(host);
}

function addDrain(host: Command, draining: boolean): void {
  host
    .command(`${draining ? "drain" : "undrain"} <host>`)
    .description(draining ? "place nothing new on a host" : "place on a host again")
    .action(async (name: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList([expectValue(await client.drainHost(name, draining))], COLUMNS, format));
    });
}

function addFence(host: Command): void {
  host
    .command("fence <host>")
    .description("vouch that a lost host is dead: its VMs may then run elsewhere")
    .option("--confirmed", "the machine is off, and will not come back with its VMs running")
    .action(async (name: string, options: { confirmed?: boolean }, command: Command) => {
      const { client, format } = openSession(command);
      await confirm(`Is ${name} certainly off? If it still runs, its VMs will run twice.`, options.confirmed);
      print(formatList([expectValue(await client.fenceHost(name))], COLUMNS, format));
    });
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
