import { createServer } from "node:net";
import { err, ok, type Result } from "@muster/base";
import type { NetworkDriver } from "./driver.ts";
import type { NicUse } from "./uses-file.ts";

/** QEMU's user networking: the guest reaches out through the host's own sockets, and one port of the host leads to its ssh. */
export function userDriver(address: string): NetworkDriver {
  return {
    async make({ port }) {
      if (port === undefined) return err({ reason: "no port was picked for this interface" });
      return ok({ kind: "user", forward: { address, port } });
    },
    async unmake() {},
    async sweep() {},
  };
}

/** Picks ports for `user` interfaces: those that no VM was given and that nobody listens on. */
export class UserPorts {
  readonly #range: { readonly address: string; readonly firstPort: number; readonly lastPort: number };

  constructor(range: { readonly address: string; readonly firstPort: number; readonly lastPort: number }) {
    this.#range = range;
  }

  async pick(uses: readonly NicUse[]): Promise<Result<number, string>> {
    const { address, firstPort, lastPort } = this.#range;
    const given = new Set(uses.map(({ port }) => port));
    for (let port = firstPort; port <= lastPort; port++)
      if (!given.has(port) && (await isFree(address, port))) return ok(port);
    return err(`no port from ${firstPort} to ${lastPort} is free on ${address}: widen networks.user of host.yaml`);
  }
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
