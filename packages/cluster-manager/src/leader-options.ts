import type { Clock, Rng } from "@muster/base";
import { createBorrower, createLedger, createLender } from "@muster/broker";
import type { Logger } from "pino";
import type { ClusterManagerOptions } from "./cluster-manager.ts";
import { policyOf } from "./config.ts";
import { createCore } from "./core/create-core.ts";
import { imagePlace } from "./images/image-place.ts";
import type { Settings } from "./settings.ts";
import type { Store } from "./store/store.ts";
import { peerLogin } from "./xmpp-face/peer-login.ts";
import { peerSeal } from "./xmpp-face/peer-seal.ts";
import { watchersOf } from "./xmpp-face/watchers.ts";

export type LeaderParts = {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  /** Base address of this manager's HTTP API. */
  readonly url: () => string;
  readonly onEnd: ClusterManagerOptions["onEnd"];
};

/** What a leader of this site is made of, but for its link. */
export function leaderOptions(parts: LeaderParts, store: Store): Omit<ClusterManagerOptions, "bus"> {
  const { settings, clock, rng, log, url, onEnd } = parts;
  const { config, tokens, siteKeys, enrolment, version } = settings;
  // A key may have been added while this manager stood by.
  const read = siteKeys.reload();
  if (!read.ok) log.error({ reason: read.error }, "the site's keys cannot be read again; those read before are used");
  const policy = policyOf(config, store.term, `muster/${version}`);
  const images = imagePlace(settings, () => config.api.advertise ?? url());
  return {
    clock,
    rng,
    log,
    store,
    makeCore: () => {
      const { leaseGraceMs: graceMs, rememberMs } = policy.timing;
      const runWithinMs = config.timing.leaseStartMs;
      const broker = { lender: createLender(), borrower: createBorrower({ graceMs, rememberMs, runWithinMs }) };
      const ledger = createLedger({
        domain: config.site,
        keys: siteKeys.keys,
        timing: { everyMs: config.ledger.receiptEveryMs, toleranceMs: config.ledger.toleranceMs },
      });
      return createCore({
        policy,
        ...broker,
        ledger,
        ownKeys: siteKeys.lasting,
        ...(images === undefined ? {} : { imageUrl: images.url }),
      });
    },
    domain: config.site,
    manager: config.name,
    storeKind: config.store.kind,
    version,
    hosts: config.hosts,
    seal: peerSeal(config.site, siteKeys.keys),
    siteKeys,
    makeLogin: peerLogin({ clock, rng, log, secret: settings.secret }),
    watchers: watchersOf(config.watchers),
    tokens,
    commandTimeoutMs: config.timing.commandTimeoutMs,
    enrolment,
    ...(images === undefined ? {} : { images: images.store }),
    fencing: config.fencing,
    onEnd,
  };
}
