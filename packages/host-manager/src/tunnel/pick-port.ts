import { createSocket } from "node:dgram";
import { err, ok, type Result } from "@muster/base";

/** A UDP port of the range that no end of this host has and that nobody else listens on. */
export async function pickPort(
  range: { readonly first: number; readonly last: number },
  taken: ReadonlySet<number>,
): Promise<Result<number, string>> {
  for (let port = range.first; port <= range.last; port += 1)
    if (!taken.has(port) && (await isFree(port))) return ok(port);
  return err(`no port from ${range.first} to ${range.last} is free for a tunnel: widen gateway.ports of host.yaml`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket({ type: "udp4" });
    socket.once("error", () => socket.close(() => resolve(false)));
    socket.bind({ port, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}
