import type { Clock, Rng } from "@muster/base";
import { type Bus, xmppComponentBus } from "@muster/xmpp";
import type { Logger } from "pino";
import type { Settings } from "./settings.ts";

export type ComponentLinkParts = {
  readonly settings: Pick<Settings, "config" | "linkTls">;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
};

/** The server is on this machine or near: it is tried again soon, so that a standby is not blind for long. */
const LINK_TIMES = { backoffBaseMs: 100, backoffMaxMs: 2_000, closeWithinMs: 200 };

/** A component of this manager at the site's XMPP server, as its configuration says; not started. */
export function componentLink({ settings, clock, rng, log }: ComponentLinkParts, domain: string, secret: string): Bus {
  const { host, port } = settings.config.xmpp;
  return xmppComponentBus({
    clock,
    rng,
    host,
    port,
    domain,
    secret,
    ...(settings.linkTls === undefined ? {} : { tls: settings.linkTls }),
    times: LINK_TIMES,
    onFault: (where, error) =>
      log.warn({ domain, where, error: error instanceof Error ? error.message : String(error) }, "XMPP oddity"),
  });
}
