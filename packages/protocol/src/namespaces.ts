/** Namespaces of what Muster says: `urn:muster:<part>:<version>`; a new version only for a change that breaks. */
export const NS_CAPACITY = "urn:muster:capacity:1";
export const NS_COMMAND = "urn:muster:command:1";
export const NS_NOTICE = "urn:muster:notice:1";
export const NS_INVENTORY = "urn:muster:inventory:1";
export const NS_MOVE = "urn:muster:move:1";
export const NS_CONSOLE = "urn:muster:console:1";
export const NS_SERIAL_LOG = "urn:muster:serial-log:1";
export const NS_HELLO = "urn:muster:hello:1";
/** Where the tunnels of a site's hosts end. */
export const NS_UNDERLAY = "urn:muster:underlay:1";
/** Tunnels between sites, at the hosts where they end. */
export const NS_TUNNEL = "urn:muster:tunnel:1";
export const NS_BURST = "urn:muster:burst:1";
/** What a site shows its peers of itself, in presence. */
export const NS_SITE = "urn:muster:site:1";
export const NS_REFUSAL = "urn:muster:refusal:1";
export const NS_SIGNATURE = "urn:muster:signature:1";
/** How a peering comes about, changes and ends. */
export const NS_PEERING = "urn:muster:peering:1";
/** Tells the XMPP server with whom the site speaks; answered by our Prosody module. */
export const NS_PEERS = "urn:muster:peers:1";
/** Asks the XMPP server for an enrolment token; answered by our Prosody module. */
export const NS_ENROL = "urn:muster:enrol:1";
/** Result set management (XEP-0059). */
export const NS_RSM = "http://jabber.org/protocol/rsm";
