import type { Logger } from "pino";
import type { ManagerEnd } from "./cluster-manager.ts";
import type { StoreFault } from "./store/store-fault.ts";

/** Exit codes of the process, a contract for supervisors: after 3 and 1 start it again, after 2 mend its configuration. */
export const EXIT = { done: 0, failed: 1, configuration: 2, deposed: 3 } as const;

/** Starting again does not help: somebody has to look. */
export const NEEDS_ADMIN: ReadonlySet<StoreFault["kind"]> = new Set([
  "newer-schema",
  "foreign",
  "went-back",
  "namesake",
]);
const LINK_REMEDY =
  "the XMPP server does not take this component: check site, xmpp.secretFile, xmpp.tls if any, and the server's " +
  "configuration; on conflict another manager took the address";

/** Says why, and with which code the process ends. */
export function exitCodeOf(end: ManagerEnd, log: Logger): number {
  switch (end.kind) {
    case "deposed":
      log.fatal({ term: end.term }, "another manager leads now");
      return EXIT.deposed;
    case "crashed":
      log.fatal(
        { error: end.error instanceof Error ? end.error.stack : String(end.error) },
        "a fault of ours; start again",
      );
      return EXIT.failed;
    case "link-refused":
      log.fatal({ reason: end.reason, text: end.text }, LINK_REMEDY);
      return end.reason === "conflict" ? EXIT.deposed : EXIT.configuration;
  }
}
