import { bareAddress } from "@muster/xmpp";
import type { Actor } from "../core/event.ts";

/** Who may watch and speak to the site over XMPP, from its configuration: the server vouches for the bare address. */
export type Watchers = (address: string) => Actor | undefined;

export type WatcherConfig = {
  readonly jid: string;
  readonly role: Actor["role"];
  readonly projects: readonly string[];
};

/** Longest name of a user. */
const USER_LENGTH_MAX = 63;

export function watchersOf(config: readonly WatcherConfig[]): Watchers {
  const actors = new Map<string, Actor>(
    config.map(({ jid, role, projects }) => [
      bareAddress(jid),
      { user: bareAddress(jid).slice(0, USER_LENGTH_MAX), role, projects },
    ]),
  );
  return (address) => actors.get(bareAddress(address));
}
