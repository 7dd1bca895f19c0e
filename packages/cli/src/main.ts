import { Command, CommanderError } from "commander";
import { addBackupCommand } from "./commands/backup.ts";
import { addHostCommands } from "./commands/host.ts";
import { addImageCommands } from "./commands/image.ts";
import { addLedgerCommands } from "./commands/ledger.ts";
import { addNetworkCommands } from "./commands/network.ts";
import { addPeerCommands } from "./commands/peer.ts";
import { addRestoreCommand } from "./commands/restore.ts";
import { addSiteCommands } from "./commands/site.ts";
import { addUpCommand } from "./commands/up.ts";
import { addVmCommands } from "./commands/vm.ts";
import { addDoctorCommand } from "./doctor/doctor-command.ts";
import { CommandFailed, EXIT } from "./exit-code.ts";
import { addGlobalOptions } from "./session.ts";
import { say } from "./terminal.ts";

/** Runs the command line; the result is the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("muster").description("federates virtual-machine sites over XMPP").version("0.1.0");
  addGlobalOptions(program);
  addUpCommand(program);
  addSiteCommands(program);
  addHostCommands(program);
  addVmCommands(program);
  addImageCommands(program);
  addNetworkCommands(program);
  addPeerCommands(program);
  addLedgerCommands(program);
  addBackupCommand(program);
  addRestoreCommand(program);
  addDoctorCommand(program);
  overrideExit(program);
  try {
    await program.parseAsync([...argv]);
    return Number(process.exitCode ?? EXIT.done);
  } catch (cause) {
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (cause instanceof CommandFailed) {
      say(`muster: ${cause.message}`);
      return cause.exitCode;
    }
    throw cause;
  }
}

/** Commander ends the process by itself unless told otherwise, on every level. */
function overrideExit(command: Command): void {
  command.exitOverride();
  for (const inner of command.commands) overrideExit(inner);
}

// A reader that closed the pipe early (`muster vm list | head -1`) is no error.
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (cause: NodeJS.ErrnoException) => {
    if (cause.code === "EPIPE") process.exit(EXIT.done);
    throw cause;
  });
const exitCode = await main(process.argv);
await Promise.all([process.stdout, process.stderr].map(flushed));
process.exit(exitCode);

/** Waits until the reader of a pipe took all: what still lies in this process goes with it. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write("", () => resolve()));
}
