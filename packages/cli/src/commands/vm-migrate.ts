import type { SiteClient } from "@muster/client";
import type { VmView } from "@muster/protocol";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { parseDuration } from "../quantity.ts";
import { openSession } from "../session.ts";
import { print } from "../terminal.ts";
import { type Awaited, expectValue, type Wait, waitFor } from "../wait.ts";
import { formatVms } from "./vm-table.ts";

type MigrateOptions = {
  readonly to?: string;
  readonly toPeer?: string;
  readonly home?: boolean;
  readonly cancel?: boolean;
  readonly wait?: Wait;
};

/** Live moves, for admins. */
export function addMigrate(vm: Command): void {
  vm.command("migrate <vm>")
    .description("move a running VM to another host, to a peer, or home from one, alive")
    .option("--to <host>", "to this host; otherwise to the best one")
    .option("--to-peer <domain>", "to this peer, under a lease")
    .option("--home", "home from the peer at which it runs")
    .option("--cancel", "end the move: the VM goes on where it is")
    .option("--wait [duration]", "wait until the move is over", parseDuration)
    .action(async (name: string, options: MigrateOptions, command: Command) => {
      if (options.cancel === true && options.to !== undefined)
        throw new CommandFailed("--cancel ends a move and --to begins one: give one of them", EXIT.usage);
      if (
        options.toPeer !== undefined &&
        (options.to !== undefined || options.home === true || options.cancel === true)
      )
        throw new CommandFailed("--to-peer goes with neither --to, --home nor --cancel", EXIT.usage);
      const { client, format } = openSession(command);
      const where = { host: options.to, peer: options.toPeer, home: options.home };
      const asked = expectValue(
        options.cancel === true ? await client.cancelMigration(name) : await client.migrateVm(name, where),
      );
      const shown = options.wait === undefined ? asked : await waitFor(settled(client, asked), options.wait);
      const stayed = options.wait !== undefined && options.cancel !== true && stayedWhere(asked, shown);
      print(formatVms([shown], format));
      if (stayed)
        throw new CommandFailed(`${shown.name} was not moved: ${shown.reason ?? "see its events"}`, EXIT.failed);
    });
}

function stayedWhere({ move }: VmView, { place }: VmView): boolean {
  const at = place.kind === "host" ? place.host : place.kind === "peer" ? place.peer : undefined;
  return move !== undefined && at === move.from;
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
