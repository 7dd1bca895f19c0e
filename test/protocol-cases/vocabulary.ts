import * as protocol from "@muster/protocol";

/** Every message of the vocabulary by the name of its folder. */
export const VOCABULARY: Readonly<Record<string, protocol.Message<unknown>>> = Object.fromEntries(
  Object.entries(protocol)
    .filter(([name]) => name.endsWith("Message") && name !== "defineMessage")
    .map(([name, message]) => [folderOf(name), message as protocol.Message<unknown>]),
);

/** `capacityMessage` has its cases in `capacity`, `commandOutcomeMessage` in `command-outcome`. */
function folderOf(exportName: string): string {
  return exportName.replace(/Message$/, "").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
