import { systemClock, systemRng, uuidv7 } from "@muster/base";
import {
  burstChoiceSchema,
  type CandidateView,
  type Explanation,
  type OnNotice,
  onNoticeSchema,
  type VmAction,
  type VmCreateInput,
  type VmView,
} from "@muster/protocol";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { readSshKeys, readUserData } from "../login-files.ts";
import { type Column, type Format, formatList, formatObject } from "../output/format.ts";
import { parseCount, parseDisk, parseDuration, parseMemory } from "../quantity.ts";
import { openSession } from "../session.ts";
import { confirm, print, say } from "../terminal.ts";
import { expectValue, type Wait, waitForVms } from "../wait.ts";
import { parsePrice } from "./peer-policy.ts";
import { addConsole } from "./vm-console.ts";
import { addLog } from "./vm-log.ts";
import { addMigrate } from "./vm-migrate.ts";
import { addOperations } from "./vm-operations.ts";
import { addSsh } from "./vm-ssh.ts";
import { formatVms } from "./vm-table.ts";

const CANDIDATE_COLUMNS: readonly Column<CandidateView>[] = [
  { heading: "CANDIDATE", value: ({ kind, name }) => `${kind} ${name}` },
  { heading: "VERDICT", value: ({ verdict }) => verdict },
  { heading: "SCORE", value: ({ score }) => score?.toFixed(3) ?? "-" },
  { heading: "REASON", value: ({ message }) => message },
];

const PRICE_COLUMN: Column<CandidateView> = {
  heading: "AN HOUR",
  value: ({ pricePerHour }) => (pricePerHour === undefined ? "-" : (pricePerHour / 1_000).toFixed(3)),
};

type CreateOptions = {
  readonly name: string;
  readonly image: string;
  readonly cpus: number;
  readonly memory: number;
  readonly disk: number;
  readonly gpus: number;
  readonly count: number;
  readonly project?: string;
  readonly priority?: number;
  readonly burst?: "never" | "allow" | "only";
  readonly onNotice?: OnNotice;
  readonly lease?: number;
  readonly maxPrice?: number;
  readonly expires?: number;
  readonly label: readonly string[];
  readonly affinity?: string;
  readonly antiAffinity?: string;
  readonly network: readonly string[];
  readonly sshKey: readonly string[];
  readonly userData?: string;
  readonly firmware?: "bios" | "uefi";
  readonly cpuModel?: "default" | "host";
  readonly cpuShares?: number;
  readonly dedicatedCpus?: boolean;
  readonly onHostLoss?: "keep" | "restart";
  readonly requestId?: string;
  readonly dryRun?: boolean;
  readonly wait?: Wait;
};

export function addVmCommands(program: Command): void {
  // What follows the name in `vm ssh` is the guest's affair.
  const vm = program.command("vm").description("virtual machines").enablePositionalOptions();
  addCreate(vm);
  vm.command("list")
    .description("VMs that are not over, or all of them")
    .option("--all", "also deleted, refused, cancelled and expired ones")
    .option("--project <name>", "only this project's")
    .action(async (options: { all?: boolean; project?: string }, command: Command) => {
      const { client, format } = openSession(command);
      const filter = {
        ...(options.project !== undefined ? { project: options.project } : {}),
        ...(options.all === true ? {} : { final: "false" }),
      };
      print(formatVms(expectValue(await client.vms(filter)), format));
    });
  vm.command("show <vm>")
    .description("one VM, by name or id")
    .action(async (id: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatObject(expectValue(await client.vm(id)), format));
    });
  vm.command("why <vm>")
    .description("why a VM is where it is, or what keeps it waiting")
    .action(async (id: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatExplanation(expectValue(await client.why(id)), format));
    });
  for (const action of ["start", "stop", "suspend", "resume", "reboot"] as const) addAction(vm, action);
  addOperations(vm);
  addDelete(vm);
  addSsh(vm);
  addLog(vm);
  addConsole(vm);
  addMigrate(vm);
}

function addCreate(vm: Command): void {
  vm.command("create")
    .description("ask for one VM or several alike")
    .requiredOption("--name <name>", "name; with --count above 1 numbers are added")
    .requiredOption("--image <image>", "image tag or sha256:<digest>")
    .option("--cpus <n>", "vCPUs", parseCount, 1)
    .option("--memory <size>", "memory, such as 4GiB", parseMemory, 1_024)
    .option("--disk <size>", "disk, such as 20GiB", parseDisk, 10)
    .option("--gpus <n>", "GPUs", parseCount, 0)
    .option("--count <n>", "how many", parseCount, 1)
    .option("--project <name>", "who pays and whose quota counts")
    .option("--priority <0-9>", "higher goes first", parseCount)
    .addOption(new Option("--burst <choice>", "whether a peer site may run it").choices(burstChoiceSchema.options))
    .option("--lease <duration>", "lease to ask of a peer at a time", parseDuration)
    .option("--max-price <units>", "the most that an hour of each VM may cost at a peer, such as 0.25", parsePrice)
    .addOption(
      new Option(
        "--on-notice <choice>",
        "when a peer wants its room back: run on elsewhere after the end, shut down first, or end",
      ).choices(onNoticeSchema.options),
    )
    .option("--expires <duration>", "give up when it still waits after this time", parseDuration)
    .option("--label <key=value>", "label that the host must carry; may be repeated", collectPair, [])
    .option("--affinity <group>", "prefer the host of this group")
    .option("--anti-affinity <group>", "never share a host with this group")
    .option(
      "--ssh-key <file>",
      "public key that may log in, such as ~/.ssh/id_ed25519.pub; may be repeated",
      collect,
      [],
    )
    .option("--user-data <file>", "user-data for the guest's cloud-init")
    .option(
      "--network <name>",
      "network for an interface; may be repeated (default: the site's default one)",
      collect,
      [],
    )
    .addOption(new Option("--firmware <kind>", "what boots it").choices(["bios", "uefi"]))
    .addOption(new Option("--cpu-model <model>", "host: all that its host's CPU can do").choices(["default", "host"]))
    .option("--cpu-shares <n>", "weight against other VMs of its host (default: 1024)", parseCount)
    .option("--dedicated-cpus", "every vCPU on a CPU of its own")
    .addOption(new Option("--on-host-loss <policy>", "when its host is proved dead").choices(["keep", "restart"]))
    .option("--request-id <id>", "id of the request: the same id again is the same request")
    .option("--dry-run", "only say what would happen")
    .option("--wait [duration]", "wait until it runs", parseDuration)
    .action(async (options: CreateOptions, command: Command) => {
      const { client, format } = openSession(command);
      const create = createOf(options);
      if (options.dryRun === true) {
        const expected = expectValue(await client.dryRun(create));
        print(formatExplanation(expected, format));
        if (expected.phase === "refused") process.exitCode = EXIT.failed;
        return;
      }
      const requestId = options.requestId ?? uuidv7(systemClock, systemRng);
      const accepted = expectValue(await client.createVms(create, requestId));
      if (format === "table") say(`request ${accepted.request} accepted in term ${accepted.term}`);
      const ids = accepted.vms.map(({ id }) => id);
      const vms = options.wait === undefined ? accepted.vms : await waitForVms(client, ids, options.wait, isUp);
      print(formatVms(vms, format));
    });
}

function addAction(vm: Command, action: VmAction): void {
  const goal = { start: "running", stop: "stopped", suspend: "paused", resume: "running", reboot: "running" }[action];
  const verb = vm
    .command(`${action} <vm>`)
    .description(`${action} a VM`)
    .option("--wait [duration]", "wait until it is done", parseDuration);
  if (action === "stop") verb.option("--force", "do not ask the guest: cut it off");
  verb.action(async (id: string, options: { wait?: Wait; force?: boolean }, command: Command) => {
    const { client, format } = openSession(command);
    const changed = expectValue(await client.actOnVm(id, action, { force: options.force === true }));
    const [shown = changed] =
      options.wait === undefined
        ? [changed]
        : await waitForVms(client, [changed.id], options.wait, ({ phase }) => phase === goal);
    print(formatVms([shown], format));
  });
}

function addDelete(vm: Command): void {
  vm.command("delete <vm...>")
    .description("end VMs and remove everything of them")
    .option("--yes", "do not ask")
    .option("--wait [duration]", "wait until nothing is left", parseDuration)
    .action(async (names: string[], options: { yes?: boolean; wait?: Wait }, command: Command) => {
      const { client, format } = openSession(command);
      await confirm(`Delete ${names.join(", ")}?`, options.yes);
      const deleted: VmView[] = [];
      for (const name of names) deleted.push(expectValue(await client.deleteVm(name)));
      const ids = deleted.map(({ id }) => id);
      const isOver = ({ phase }: VmView): boolean => phase === "deleted" || phase === "cancelled";
      const shown = options.wait === undefined ? deleted : await waitForVms(client, ids, options.wait, isOver);
      print(formatVms(shown, format));
    });
}

/** Explains a place or a wait: the summary, then every candidate (P4). */
export function formatExplanation(explanation: Explanation, format: Format): string {
  if (format !== "table") return formatObject(explanation, format);
  const table =
    explanation.candidates.length === 0 ? "" : formatList(explanation.candidates, columnsFor(explanation), format);
  return `${explanation.summary}\n${table}`;
}

/** Prices only where somebody asks for one. */
function columnsFor({ candidates }: Explanation): readonly Column<CandidateView>[] {
  return candidates.some(({ pricePerHour }) => pricePerHour !== undefined)
    ? [...CANDIDATE_COLUMNS.slice(0, -1), PRICE_COLUMN, ...CANDIDATE_COLUMNS.slice(-1)]
    : CANDIDATE_COLUMNS;
}

function createOf(options: CreateOptions): VmCreateInput {
  return {
    name: options.name,
    count: options.count,
    spec: {
      image: options.image,
      vcpus: options.cpus,
      memoryMiB: options.memory,
      diskGiB: options.disk,
      gpus: options.gpus,
      labels: Object.fromEntries(options.label.map(keyAndValue)),
      ...(options.affinity !== undefined ? { affinityGroup: options.affinity } : {}),
      ...(options.antiAffinity !== undefined ? { antiAffinityGroup: options.antiAffinity } : {}),
      ...(options.network.length > 0 ? { networks: [...options.network] } : {}),
      ...loginOf(options),
      ...(options.firmware !== undefined ? { firmware: options.firmware } : {}),
      ...(options.cpuModel !== undefined ? { cpuModel: options.cpuModel } : {}),
      ...(options.cpuShares !== undefined ? { cpuShares: options.cpuShares } : {}),
      ...(options.dedicatedCpus === true ? { dedicatedCpus: true } : {}),
      ...(options.onHostLoss !== undefined ? { onHostLoss: options.onHostLoss } : {}),
    },
    ...(options.project !== undefined ? { project: options.project } : {}),
    ...(options.priority !== undefined ? { priority: options.priority } : {}),
    ...(options.burst !== undefined ? { burst: options.burst } : {}),
    ...(options.lease !== undefined ? { leaseMs: options.lease } : {}),
    ...(options.maxPrice !== undefined ? { maxPricePerHour: options.maxPrice } : {}),
    ...(options.onNotice !== undefined ? { onNotice: options.onNotice } : {}),
    ...(options.expires !== undefined ? { expiresAfterMs: options.expires } : {}),
  };
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}

function collectPair(value: string, previous: readonly string[]): readonly string[] {
  if (!value.includes("=")) throw new InvalidArgumentError("expected key=value");
  return [...previous, value];
}

/** Keys and user-data, from their files. */
function loginOf({ sshKey, userData }: CreateOptions): Pick<VmCreateInput["spec"], "sshKeys" | "userData"> {
  const keys = readSshKeys(sshKey);
  if (!keys.ok) throw new CommandFailed(`--ssh-key: ${keys.error}`, EXIT.usage);
  const text = userData === undefined ? undefined : readUserData(userData);
  if (text !== undefined && !text.ok) throw new CommandFailed(`--user-data: ${text.error}`, EXIT.usage);
  return {
    ...(keys.value.length === 0 ? {} : { sshKeys: keys.value }),
    ...(text === undefined ? {} : { userData: text.value }),
  };
}

/** Splits at the first equals sign: what follows is the value as it stands. */
function keyAndValue(pair: string): readonly [string, string] {
  const at = pair.indexOf("=");
  return [pair.slice(0, at), pair.slice(at + 1)];
}

function isUp({ phase }: VmView): boolean {
  return phase === "running";
}
