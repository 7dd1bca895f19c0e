import { ok, type Result } from "@muster/base";
import { runProgram } from "../process/run-program.ts";

/** Runs several commands of ip(8) at once; ends at the first that fails. `namespace`: where, if not here. */
export async function ipBatch(commands: readonly string[], namespace?: string): Promise<Result<void, string>> {
  const inside = namespace === undefined ? [] : ["-netns", namespace];
  const ran = await runProgram("ip", [...inside, "-batch", "-"], { input: `${commands.join("\n")}\n` });
  return ran.ok ? ok(undefined) : ran;
}

/** Names of the interfaces of this machine that begin so. */
export async function interfacesNamed(start: string): Promise<readonly string[]> {
  const shown = await runProgram("ip", ["-brief", "link", "show"]);
  if (!shown.ok) return [];
  // A cable's end is shown as NAME@OTHER-END.
  const names = shown.value.split("\n").map((line) => line.split(/[@\s]/)[0] ?? "");
  return names.filter((name) => name.startsWith(start));
}

/** Names of the network namespaces that begin so. */
export async function namespacesNamed(start: string): Promise<readonly string[]> {
  const shown = await runProgram("ip", ["netns", "list"]);
  if (!shown.ok) return [];
  return shown.value
    .split("\n")
    .map((line) => line.split(/\s/)[0] ?? "")
    .filter((name) => name.startsWith(start));
}
