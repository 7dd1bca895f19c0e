import { ArgumentRefused } from "../fault.ts";

/** `sun_path` has 108 bytes on Linux, the terminating NUL included (unix(7)). A longer path is cut without a word. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Throws {@link ArgumentRefused} where the path cannot be the name of a unix socket. */
export function checkSocketPath(path: string): void {
  const size = Buffer.byteLength(path);
  if (size === 0) throw new ArgumentRefused("socketPath", "must not be empty");
  if (path.includes("\0")) throw new ArgumentRefused("socketPath", "must not contain a NUL character");
  if (size > SOCKET_PATH_BYTES_MAX) {
    const problem = `${size} bytes, but a unix socket path holds ${SOCKET_PATH_BYTES_MAX} at most; use a shorter folder`;
    throw new ArgumentRefused("socketPath", `${path} is ${problem}`);
  }
}
