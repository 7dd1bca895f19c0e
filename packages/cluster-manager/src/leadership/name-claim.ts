import { createHash } from "node:crypto";
import { createServer } from "node:net";
import { err, ok, type Result } from "@muster/base";

/**
 * Claims a manager's name over one store on this machine, as long as the process lives: two of one name would take the XMPP
 * component from each other for ever. The claim is a socket of the abstract namespace (unix(7)), which the kernel takes
 * back however the process ends.
 */
export function claimName(place: string, manager: string): Promise<Result<() => void, string>> {
  const store = createHash("sha256").update(place).digest("hex").slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  server.unref();
  return new Promise((done) => {
    server.once("error", (cause) => {
      const taken = "code" in cause && cause.code === "EADDRINUSE";
      done(
        err(
          taken
            ? `another manager named "${manager}" runs over ${place}; give each its own name, or stop the other one`
            : `the name "${manager}" cannot be claimed: ${cause.message}`,
        ),
      );
    });
    server.listen(`\0muster/${store}/${manager}`, () => done(ok(() => server.close())));
  });
}
