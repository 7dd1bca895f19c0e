import { connect } from "node:net";
import { err, ok, type Result } from "@muster/base";
import { adminEvaluate } from "./admin-shell.ts";
import { luaString } from "./lua.ts";
import type { Endpoint } from "./preflight.ts";
import { requiredModules } from "./prosody-config.ts";
import { type ProsodySite, siteFiles } from "./prosody-site.ts";
import type { ServerFault } from "./server-fault.ts";

/** Checks what Prosody only logs when it goes wrong: ports not opened, modules not loaded, its resolver missing. */
export async function checkReady(
  site: ProsodySite,
  endpoints: readonly Endpoint[],
  lastWords: () => Promise<readonly string[]>,
): Promise<Result<void, ServerFault>> {
  const ports = await checkPorts(endpoints, lastWords);
  if (!ports.ok) return ports;
  const { adminSocket } = siteFiles(site.folder);
  // Without a module of ours its protection is missing: accounts, for instance, would be open to peers.
  for (const { host, module } of requiredModules(site)) {
    const loaded = await adminEvaluate(
      adminSocket,
      `prosody.hosts[${luaString(host)}].modules[${luaString(module)}] ~= nil`,
    );
    if (!loaded.ok) return loaded;
    if (loaded.value !== "true") return err({ kind: "module-not-loaded", host, module, logTail: await lastWords() });
  }
  if (site.names === undefined) return ok(undefined);
  // Without lua-unbound Prosody falls back to a resolver that ignores the private hosts file.
  const resolver = await adminEvaluate(adminSocket, 'pcall(require, "lunbound") and "yes" or "no"');
  if (!resolver.ok) return resolver;
  if (resolver.value === "yes") return ok(undefined);
  return err({ kind: "binary-missing", binary: "Prosody's resolver library", debianPackage: "lua-unbound" });
}

/** Checks that all ports are open. */
export async function checkPorts(
  endpoints: readonly Endpoint[],
  lastWords: () => Promise<readonly string[]>,
): Promise<Result<void, ServerFault>> {
  for (const { address, port } of endpoints)
    if (!(await answers({ address: address === "0.0.0.0" ? "127.0.0.1" : address, port })))
      return err({ kind: "port-not-opened", address, port, logTail: await lastWords() });
  return ok(undefined);
}

function answers({ address, port }: Endpoint): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const settle = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}
