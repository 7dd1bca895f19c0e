/** B5: what a key signed that was rotated away counts until its overlap is over, and not a moment longer. */
import type { PeerRecord } from "@muster/cluster-manager";
import type { Checker } from "../checker.ts";
import { peerIn } from "../core-words.ts";
import { claim } from "../violation.ts";

export function keysInForce(): Checker {
  /** When the keys of a peer end at a site that pinned others since, by the time of that site. */
  const retired = new Map<string, number>();
  return {
    onCommit({ site }, kept) {
      for (const { key, before, after } of kept) {
        if (!key.startsWith("peer/")) continue;
        const [was, is] = [before as PeerRecord | undefined, after as PeerRecord | undefined];
        const domain = key.slice("peer/".length);
        if (is?.key !== undefined) retired.delete(`${site.domain} ${domain} ${is.key.publicKey}`);
        // A peering that is agreed anew brings its key along: only a succession retires one.
        if (was?.key === undefined || is?.key === undefined || was.key.publicKey === is.key.publicKey) continue;
        const overlaps = is.earlierKey?.publicKey === was.key.publicKey;
        retired.set(`${site.domain} ${domain} ${was.key.publicKey}`, overlaps ? (is.earlierKey?.untilMs ?? 0) : 0);
      }
    },
    onOpened(lead, peer, key) {
      const { site } = lead;
      // Whoever was deposed can take what it likes: nothing comes of it (L2).
      if (lead.term !== site.store.term) return;
      const untilMs = retired.get(`${site.domain} ${peer} ${key}`) ?? Number.POSITIVE_INFINITY;
      const pinned = peerIn(site.store, peer)?.key?.publicKey === key;
      claim(
        pinned || lead.nowMs() <= untilMs,
        "B5",
        () => `${site.domain} takes what a key of ${peer} signed that is over since ${lead.nowMs() - untilMs} ms`,
      );
    },
  };
}
