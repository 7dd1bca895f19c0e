import { type Check, well } from "./check.ts";
import { programCheck } from "./machine-checks.ts";

/** What is different where a site has ejabberd for its XMPP server; nothing to say of Prosody. */
export function serverChecks(server: "prosody" | "ejabberd", path: string): readonly Check[] {
  if (server === "prosody") return [];
  const wanted = { program: "ejabberdctl", debianPackage: "ejabberd", what: "the XMPP server of this site" };
  return [
    programCheck(wanted, path),
    well(
      "xmpp server",
      "ejabberd: it hands out no tokens, so accounts of new hosts and of peers that come as clients are made with " +
        "ejabberdctl register; managers on other machines need a tunnel to its component port",
    ),
  ];
}
