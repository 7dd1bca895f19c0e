import { createServer } from "node:net";
import { err, ok, type Result } from "@muster/base";
import type { NetworkDriver } from "./driver.ts";
import type { NicUse } from "./uses-file.ts";

/** QEMU's user networking: the guest reaches out through the host's own sockets, and one port of the host leads to its ssh. */
export function userDriver(address: string): NetworkDriver {
  return {
    async lack() {
      return undefined;
    },
    async make({ port }) {
      if (port === undefined) return err({ reason: "no port was picked for this interface" });
      return ok({ kind: "user", forward: { address, port } });
    },
    async unmake() {},
    async sweep() {},
  };
}

/** Picks ports that lead to guests: those that no VM was given and that nobody listens on. */
export class UserPorts {
  readonly #range: PortRange;

  constructor(range: PortRange) {
    this.#range = range;
  }

  async pick(uses: readonly NicUse[]): Promise<Result<number, string>> {
    const { address, firstPort, lastPort, key, elsewhere } = this.#range;
    const given = new Set(uses.map(({ port }) => port));
    for (let port = firstPort; port <= lastPort; port++)
      if (!given.has(port) && (elsewhere === true || (await isFree(address, port)))) return ok(port);
    return err(`no port from ${firstPort} to ${lastPort} is free on ${address}: widen ${key} of host.yaml`);
  }
}

/** Ports of this host that may lead to guests. */
export type PortRange = {
  readonly address: string;
  readonly firstPort: number;
  readonly lastPort: number;
  /** Where the range stands in `host.yaml`. */
  readonly key: string;
  /** The address is in another network namespace: who listens there cannot be seen from here. */
  readonly elsewhere?: boolean;
};

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
