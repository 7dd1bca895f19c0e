/** Interfaces that the host manager makes: they carry an alias of ours, by which they are known again and others' are left alone. */
import { err, ok, type Result } from "@muster/base";
import type { IpLink, Link } from "./ip-link.ts";

/**
 * Whether it is ours, by its alias. Also one that a crash left before it got its alias: an interface is down and without one
 * when it is made.
 */
export function isOwnLink({ ifalias, flags }: Link, alias: string): boolean {
  return ifalias === undefined ? !flags.includes("UP") : ifalias.startsWith(alias);
}

/** The interface of that name, if there is one and it is ours; the fault says that it is somebody else's. */
export async function findOwnLink(
  links: IpLink,
  name: string,
  alias: string,
): Promise<Result<Link | undefined, string>> {
  const present = await links.find(name);
  if (!present.ok || present.value === undefined || isOwnLink(present.value, alias)) return present;
  return err(`an interface ${name} is there that is not ours`);
}

/** A bridge of ours without an address, so that guests do not reach the host by it. */
export async function ensureOwnBridge(
  links: IpLink,
  name: string,
  alias: string,
  mtu: number,
): Promise<Result<void, string>> {
  const present = await findOwnLink(links, name, alias);
  if (!present.ok) return present;
  if (present.value === undefined) {
    const added = await links.run(["link", "add", name, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"]);
    if (!added.ok) return added;
  }
  return links.run(
    ["link", "set", name, "alias", alias],
    ["link", "set", name, "addrgenmode", "none"],
    ["link", "set", name, "mtu", String(mtu), "up"],
  );
}

/** Removes those that are ours; what is not there is removed already. */
export async function removeOwnLinks(
  links: IpLink,
  names: readonly string[],
  alias: string,
): Promise<Result<void, string>> {
  for (const name of names) {
    const present = await links.find(name);
    if (!present.ok) return present;
    if (present.value === undefined || !isOwnLink(present.value, alias)) continue;
    const gone = await links.run(["link", "del", name]);
    if (!gone.ok) return gone;
  }
  return ok(undefined);
}

/** Numbers of bridges of ours, named `<prefix><number>`, that nobody uses and that no stranger's interface is in. */
export async function staleBridges(
  links: IpLink,
  prefix: string,
  alias: string,
  used: ReadonlySet<number>,
): Promise<readonly number[]> {
  const present = await links.list();
  if (!present.ok) throw new Error(present.error);
  const isOurs = (link: Link): boolean => isOwnLink(link, alias);
  return present.value.flatMap((link) => {
    const number = new RegExp(`^${prefix}(\\d+)$`).exec(link.ifname)?.[1];
    if (number === undefined || !isOurs(link) || used.has(Number(number))) return [];
    // A guest that nobody noted may be on it: its interface is a port of the bridge.
    return present.value.filter(({ master }) => master === link.ifname).every(isOurs) ? [Number(number)] : [];
  });
}
