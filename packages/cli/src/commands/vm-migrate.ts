import type { SiteClient } from "@muster/client";
import type { VmView } from "@muster/protocol";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { parseDuration } from "../quantity.ts";
import { openSession } from "../session.ts";
import { print } from "../terminal.ts";
import { type Awaited, expectValue, type Wait, waitFor } from "../wait.ts";
import { formatVms } from "./vm-table.ts";

type MigrateOptions = { readonly to?: string; readonly cancel?: boolean; readonly wait?: Wait };

/** Live moves, for admins. */
export function addMigrate(vm: Command): void {
  vm.command("migrate <vm>")
    .description("move a running VM to another host, alive")
    .option("--to <host>", "to this host; otherwise to the best one")
    .option("--cancel", "end the move: the VM goes on where it is")
    .option("--wait [duration]", "wait until the move is over", parseDuration)
    .action(async (name: string, options: MigrateOptions, command: Command) => {
      if (options.cancel === true && options.to !== undefined)
        throw new CommandFailed("--cancel ends a move and --to begins one: give one of them", EXIT.usage);
      const { client, format } = openSession(command);
      const asked = expectValue(
        options.cancel === true ? await client.cancelMigration(name) : await client.migrateVm(name, options.to),
      );
      const shown = options.wait === undefined ? asked : await waitFor(settled(client, asked), options.wait);
      const stayed = options.wait !== undefined && options.cancel !== true && stayedWhere(asked, shown);
      print(formatVms([shown], format));
      if (stayed)
        throw new CommandFailed(`${shown.name} was not moved: ${shown.reason ?? "see its events"}`, EXIT.failed);
    });
}

function stayedWhere(before: VmView, after: VmView): boolean {
  return before.move !== undefined && after.place.kind === "host" && after.place.host === before.move.from;
}

function settled(client: SiteClient, { id }: VmView): Awaited<VmView> {
  return {
    read: async () => expectValue(await client.vm(id)),
    done: ({ move }) => move === undefined,
    progress({ name, move }) {
      const done = move?.doneMiB === undefined ? "" : `, ${move.doneMiB} of ${move.totalMiB} MiB`;
      return `${name} is being moved to ${move?.to}: ${move?.stage}${done}`;
    },
  };
}
