import { existsSync } from "node:fs";
import { runProgram } from "../process/run-program.ts";

/**
 * How real guests can be run by this process:
 * - `namespaces`: each host a network namespace with its own libvirtd, guests on bridges;
 * - `session`: libvirt as an ordinary user, guests behind QEMU's user networking, ssh by a forwarded port;
 * - `none`: not at all.
 */
export type QemuRights =
  | { readonly kind: "namespaces" }
  | { readonly kind: "session"; readonly reason: string }
  | { readonly kind: "none"; readonly reason: string };

const QEMU = "/usr/bin/qemu-system-x86_64";

/** Tries what it takes, in a namespace that is gone afterwards. */
export async function probeQemuRights(): Promise<QemuRights> {
  if (!existsSync(QEMU))
    return { kind: "none", reason: "QEMU is not installed: apt-get install --no-install-recommends qemu-system-x86" };
  if (process.getuid?.() !== 0) return { kind: "session", reason: "this is not root" };
  const missing = await whatIsMissing();
  return missing === undefined
    ? { kind: "namespaces" }
    : { kind: "none", reason: `${missing}; an ordinary user can do without` };
}

async function whatIsMissing(): Promise<string | undefined> {
  if (!existsSync("/dev/net/tun")) return "/dev/net/tun is missing";
  const mount = await runProgram("unshare", ["--mount", "--uts", "--", "true"]);
  if (!mount.ok) return `no mount namespaces (${mount.error})`;
  const name = `mup${process.pid}`;
  const added = await runProgram("ip", ["netns", "add", name]);
  if (!added.ok) return `no network namespaces (${added.error})`;
  try {
    const bridge = await runProgram("ip", ["-n", name, "link", "add", "br0", "type", "bridge"]);
    if (!bridge.ok) return `no bridges (${bridge.error})`;
    const cable = await runProgram("ip", ["-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "b0"]);
    return cable.ok ? undefined : `no virtual cables (${cable.error})`;
  } finally {
    await runProgram("ip", ["netns", "del", name]);
  }
}
