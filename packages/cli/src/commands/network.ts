import { addressingSchema, attachmentSchema, type NetworkCreateInput, type NetworkView } from "@muster/protocol";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type Column, formatList, formatObject } from "../output/format.ts";
import { parseCount } from "../quantity.ts";
import { openSession } from "../session.ts";
import { confirm, print, say } from "../terminal.ts";
import { expectValue } from "../wait.ts";

const COLUMNS: readonly Column<NetworkView>[] = [
  { heading: "NAME", value: (network) => (network.default ? `${network.name} (default)` : network.name) },
  {
    heading: "ATTACHMENT",
    value: ({ attachment, vni, vlan }) => [attachment, vni ?? vlan].filter((part) => part !== undefined).join(" "),
  },
  { heading: "SUBNET", value: ({ cidr }) => cidr ?? "-" },
  { heading: "ADDRESSING", value: ({ addressing }) => addressing },
  { heading: "OUTSIDE", value: ({ attachment, outside }) => outside ?? OUTSIDE_BY[attachment] },
  { heading: "FREE", value: ({ addresses }) => freeOf(addresses) },
  { heading: "MTU", value: ({ mtu }) => mtu },
  { heading: "VMS", value: ({ vms }) => vms },
  { heading: "PROJECTS", value: ({ projects }) => (projects === "*" ? "*" : projects.join(",")) },
];

/** Who leads outside where the network's hosts are not told to. */
const OUTSIDE_BY: Readonly<Record<NetworkView["attachment"], string>> = {
  bridge: "its router",
  vlan: "its router",
  vxlan: "-",
  nat: "nat",
  user: "nat",
};

type CreateOptions = {
  readonly attachment: NetworkCreateInput["attachment"];
  readonly cidr?: string;
  readonly gateway?: string;
  readonly nameserver: readonly string[];
  readonly pool?: { readonly first: string; readonly last: string };
  readonly vni?: number;
  readonly vlan?: number;
  readonly outside?: "none" | "nat";
  readonly mtu?: number;
  readonly addressing?: NonNullable<NetworkCreateInput["addressing"]>;
  readonly burstable?: boolean;
  readonly project: readonly string[];
  readonly default?: boolean;
};

export function addNetworkCommands(program: Command): void {
  const network = program.command("network").description("networks that VMs are on");
  addCreate(network);
  network
    .command("list")
    .description("networks that you may use")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.networks()), COLUMNS, format));
    });
  network
    .command("show <network>")
    .description("one network, with how many addresses are left")
    .action(async (name: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatObject(expectValue(await client.network(name)), format));
    });
  network
    .command("delete <network>")
    .description("delete a network that no VM is on")
    .option("--yes", "do not ask")
    .action(async (name: string, options: { yes?: boolean }, command: Command) => {
      const { client } = openSession(command);
      await confirm(`Delete ${name}?`, options.yes);
      expectValue(await client.deleteNetwork(name));
      say(`${name} is deleted`);
    });
}

function addCreate(network: Command): void {
  network
    .command("create <name>")
    .description("make a network; what is left out follows from the rest")
    .addOption(
      new Option("--attachment <kind>", "how VMs are joined to it")
        .choices(attachmentSchema.options)
        .makeOptionMandatory(),
    )
    .option("--cidr <subnet>", "its IPv4 subnet, such as 10.77.0.0/24")
    .option("--gateway <address>", "gateway, or none (default: the first address)")
    .option("--nameserver <address>", "name server for guests; may be repeated", collect, [])
    .option("--pool <first-last>", "addresses for VMs (default: all of the subnet)", parsePool)
    .option("--vni <n>", "VXLAN identifier (default: the lowest free one)", parseCount)
    .option("--vlan <tag>", "VLAN tag, 1 to 4094, that the trunks of the hosts carry", parseCount)
    .addOption(
      new Option(
        "--outside <how>",
        "route outside of a vxlan network: none, or nat by the host that each VM is on",
      ).choices(["none", "nat"]),
    )
    .option("--mtu <bytes>", "largest packet (default: 1500, with VXLAN 1450, burstable 1370)", parseCount)
    .addOption(new Option("--addressing <how>", "how guests learn their addresses").choices(addressingSchema.options))
    .option("--burstable", "its VMs may come to run at a peer")
    .option("--project <name>", "let only this project use it; may be repeated", collect, [])
    .option("--default", "for VMs that name no network")
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList([expectValue(await client.createNetwork(createOf(name, options)))], COLUMNS, format));
    });
}

function createOf(name: string, options: CreateOptions): NetworkCreateInput {
  const { attachment, cidr, gateway, nameserver, pool, vni, vlan, outside, mtu, addressing, project } = options;
  return {
    name,
    attachment,
    ...(cidr === undefined ? {} : { cidr }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(nameserver.length === 0 ? {} : { nameservers: [...nameserver] }),
    ...(pool === undefined ? {} : { pool }),
    ...(vni === undefined ? {} : { vni }),
    ...(vlan === undefined ? {} : { vlan }),
    ...(outside === "nat" ? { outside } : {}),
    ...(mtu === undefined ? {} : { mtu }),
    ...(addressing === undefined ? {} : { addressing }),
    burstable: options.burstable === true,
    projects: project.length === 0 ? "*" : [...project],
    default: options.default === true,
  };
}

function parsePool(text: string): { readonly first: string; readonly last: string } {
  const [first, last, ...more] = text.split("-").map((part) => part.trim());
  if (first === undefined || last === undefined || more.length > 0)
    throw new InvalidArgumentError("expected two addresses such as 10.77.0.10-10.77.0.99");
  return { first, last };
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}

function freeOf({ total, reserved, cooling }: NetworkView["addresses"]): string {
  return total === 0 ? "-" : `${Math.max(0, total - reserved - cooling)}/${total}`;
}
