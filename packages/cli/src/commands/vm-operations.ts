import { systemClock, systemRng, uuidv7 } from "@muster/base";
import type { SnapshotView, VmOperation, VmView, VolumeView } from "@muster/protocol";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { type Column, formatList } from "../output/format.ts";
import { parseCount, parseDisk, parseDuration, parseMemory } from "../quantity.ts";
import { openSession } from "../session.ts";
import { confirm, print } from "../terminal.ts";
import { expectValue, type Wait, waitFor } from "../wait.ts";
import { formatVms } from "./vm-table.ts";

type OperationOptions = { readonly wait?: Wait; readonly operationId?: string };

const SNAPSHOT_COLUMNS: readonly Column<SnapshotView>[] = [
  { heading: "NAME", value: ({ name }) => name },
  { heading: "STATE", value: ({ state }) => state },
  { heading: "CREATED", value: ({ createdAt }) => createdAt },
];
const VOLUME_COLUMNS: readonly Column<VolumeView>[] = [
  { heading: "NAME", value: ({ name }) => name },
  { heading: "SIZE", value: ({ sizeGiB }) => `${sizeGiB} GiB` },
  { heading: "ATTACHED", value: ({ attached }) => (attached ? "yes" : "no") },
];

/** What is done once with a VM: saving, another size, snapshots, volumes. */
export function addOperations(vm: Command): void {
  operation(
    vm.command("save <vm>").description("write a VM's memory to disk and stop it; start goes on from there"),
  ).action((name: string, options: OperationOptions, command: Command) =>
    operate(command, name, { kind: "save" }, options),
  );
  addResize(vm);
  addSnapshots(vm.command("snapshot").description("snapshots of a VM: its disks, and its memory where it runs"));
  addVolumes(vm.command("volume").description("disks of a VM beside its first one"));
}

function addResize(vm: Command): void {
  type Options = OperationOptions & { readonly cpus?: number; readonly memory?: number; readonly disk?: number };
  operation(vm.command("resize <vm>").description("give a stopped VM another size; its disk only grows"))
    .option("--cpus <n>", "vCPUs", parseCount)
    .option("--memory <size>", "memory, such as 4GiB", parseMemory)
    .option("--disk <size>", "disk, such as 20GiB", parseDisk)
    .action(async (name: string, options: Options, command: Command) => {
      const { cpus, memory, disk } = options;
      if (cpus === undefined && memory === undefined && disk === undefined)
        throw new CommandFailed("say what is to change: --cpus, --memory or --disk", EXIT.usage);
      const size = {
        ...(cpus === undefined ? {} : { vcpus: cpus }),
        ...(memory === undefined ? {} : { memoryMiB: memory }),
        ...(disk === undefined ? {} : { diskGiB: disk }),
      };
      await operate(command, name, { kind: "resize", ...size }, options);
    });
}

function addSnapshots(snapshot: Command): void {
  operation(snapshot.command("create <vm> <snapshot>").description("keep a VM as it is now")).action(
    (vm: string, name: string, options: OperationOptions, command: Command) =>
      operate(command, vm, { kind: "create-snapshot", name }, options),
  );
  snapshot
    .command("list <vm>")
    .description("its snapshots, oldest first")
    .action(async (vm: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.snapshots(vm)), SNAPSHOT_COLUMNS, format));
    });
  operation(snapshot.command("revert <vm> <snapshot>").description("go back: what the VM has done since is lost"))
    .option("--yes", "do not ask")
    .action(async (vm: string, name: string, options: OperationOptions & { yes?: boolean }, command: Command) => {
      await confirm(`Take ${vm} back to ${name}, and lose what it has done since?`, options.yes);
      await operate(command, vm, { kind: "revert-snapshot", name }, options);
    });
  operation(snapshot.command("delete <vm> <snapshot>").description("forget it; the VM stays as it is")).action(
    (vm: string, name: string, options: OperationOptions, command: Command) =>
      operate(command, vm, { kind: "delete-snapshot", name }, options),
  );
}

function addVolumes(volume: Command): void {
  operation(volume.command("create <vm> <volume>").description("make an empty disk and attach it"))
    .requiredOption("--size <size>", "size, such as 20GiB", parseDisk)
    .action((vm: string, name: string, options: OperationOptions & { size: number }, command: Command) =>
      operate(command, vm, { kind: "create-volume", name, sizeGiB: options.size }, options),
    );
  volume
    .command("list <vm>")
    .description("its volumes")
    .action(async (vm: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.volumes(vm)), VOLUME_COLUMNS, format));
    });
  operation(volume.command("attach <vm> <volume>").description("attach it again, live where the VM runs")).action(
    (vm: string, name: string, options: OperationOptions, command: Command) =>
      operate(command, vm, { kind: "attach-volume", name }, options),
  );
  operation(volume.command("detach <vm> <volume>").description("take it off the VM; what is on it stays")).action(
    (vm: string, name: string, options: OperationOptions, command: Command) =>
      operate(command, vm, { kind: "detach-volume", name }, options),
  );
  operation(volume.command("delete <vm> <volume>").description("delete a volume that is detached, and what is on it"))
    .option("--yes", "do not ask")
    .action(async (vm: string, name: string, options: OperationOptions & { yes?: boolean }, command: Command) => {
      await confirm(`Delete ${name} of ${vm}, and what is on it?`, options.yes);
      await operate(command, vm, { kind: "delete-volume", name }, options);
    });
}

function operation(command: Command): Command {
  return command
    .option("--operation-id <id>", "id of the operation: the same id again is the same operation")
    .option("--wait [duration]", "wait until the host has done it", parseDuration);
}

/** Asks for it, and where that is wished waits for its end; a refusal by the host is a failure of the command. */
async function operate(
  command: Command,
  vm: string,
  asked: VmOperation,
  { wait, operationId = uuidv7(systemClock, systemRng) }: OperationOptions,
): Promise<void> {
  const { client, format } = openSession(command);
  const stored = expectValue(await client.operateVm(vm, asked, operationId));
  const { id } = stored.operation ?? {};
  const isOver = ({ operation: now }: VmView): boolean => now?.id !== id || now?.state !== "pending";
  const shown =
    wait === undefined
      ? stored
      : await waitFor(
          {
            read: async () => expectValue(await client.vm(stored.id)),
            done: isOver,
            progress: ({ name }) => `${name}: ${asked.kind} is under way`,
          },
          wait,
        );
  print(formatVms([shown], format));
  const ended = shown.operation;
  if (ended?.id === id && ended?.state === "refused")
    throw new CommandFailed(
      `${shown.name}: ${asked.kind} was refused: ${ended.reason ?? "see its events"}`,
      EXIT.failed,
    );
}
