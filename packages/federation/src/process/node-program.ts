import { fileURLToPath } from "node:url";

/** Root of the checkout that this file is part of. */
const CHECKOUT = fileURLToPath(new URL("../../../../", import.meta.url));

/** Command line that runs one of our entry points on the Node.js that we run on, without a build step. */
export function nodeProgram(
  entry: string,
  args: readonly string[],
): { readonly command: string; readonly args: readonly string[] } {
  // setpriv (util-linux) has the kernel end the process when the supervisor dies, however that happens.
  return {
    command: "setpriv",
    args: [
      "--pdeathsig",
      "SIGTERM",
      "--",
      process.execPath,
      "--conditions=muster-source",
      `${CHECKOUT}${entry}`,
      ...args,
    ],
  };
}

export const MANAGER_ENTRY = "packages/cluster-manager/src/main.ts";
export const HOST_ENTRY = "packages/host-manager/src/main.ts";
