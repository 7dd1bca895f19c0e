import { isIPv4 } from "node:net";
import { isAbsolute, join } from "node:path";
import type { FieldFault } from "@muster/base";

/** Ports of one server; the defaults are the registered ones, so that no SRV record is needed on a private address. */
export type ProsodyPorts = {
  /** Clients, STARTTLS (RFC 6120). */
  readonly client: number;
  /** Clients, TLS from the first byte (XEP-0368). */
  readonly clientTls: number;
  /** Other sites (RFC 6120). */
  readonly server: number;
  /** Components (XEP-0114): plain TCP, keep it on loopback. */
  readonly component: number;
  /** Components inside TLS, where `componentTls` is given. */
  readonly componentTls: number;
};

export const PROSODY_PORTS: ProsodyPorts = {
  client: 5222,
  clientTls: 5223,
  server: 5269,
  component: 5347,
  componentTls: 5348,
};

/** A port on which managers of other machines link inside TLS, certificates verified both ways. */
export type ComponentTls = {
  /** IPv4 address of the port; the site's `address` if not given. */
  readonly address?: string;
  /** Certificates that sign those of the managers; the site's `tls.caPath` if not given. */
  readonly caPath?: string;
};

/** One line of the private hosts file: the site behind an address. */
export type NamedAddress = { readonly address: string; readonly names: readonly string[] };

/** All that the configuration of one site's XMPP server is made from. */
export type ProsodySite = {
  /** The site's XMPP domain, lower case: `alpha.test`. Its component is `cloud.<domain>`. */
  readonly domain: string;
  /** IPv4 address of all its ports: one of its own per site on one machine (`127.0.11.1`). */
  readonly address: string;
  /** Address of the component port when it differs, for instance loopback beside a public `address`. */
  readonly componentAddress?: string;
  /** Without it managers link from this machine only. With it the plain component port must be on loopback. */
  readonly componentTls?: ComponentTls;
  readonly ports?: Partial<ProsodyPorts>;
  /** Absolute path of the folder that holds everything of this server; see `siteFiles`. */
  readonly folder: string;
  /** Shared secret of `cloud.<domain>` (XEP-0114). */
  readonly cloudSecret: string;
  /** One component `cm-<name>.<domain>` a cluster manager, for beats and hand-over; peers never reach it. */
  readonly managers: readonly { readonly name: string; readonly secret: string }[];
  /**
   * Exact domains with which `cloud.<domain>` exchanges stanzas (`cloud.beta.test`) until its leader sets the list, which it
   * does whenever it binds: peers by invitation need no mention here.
   */
  readonly peers: readonly string[];
  /**
   * No port for other servers, and no connection to them: peers are reached through client accounts at theirs. For sites
   * behind a firewall or address translation.
   */
  readonly outboundOnly?: boolean;
  /**
   * Names of the sites, resolved from a private hosts file and nowhere else: no DNS is asked, a name that is not listed
   * fails at once. Without it the machine's own resolver is used.
   */
  readonly names?: readonly NamedAddress[];
  readonly tls: { readonly keyPath: string; readonly certificatePath: string; readonly caPath: string };
  /**
   * A silent connection is asked for a sign of life after this many seconds (default 5) and closed after as many again.
   */
  readonly deadPeerSeconds?: number;
  /** Enrolment tokens that may be out at a time (default 1000); more are refused with resource-constraint. */
  readonly pendingTokensMax?: number;
};

/** Paths below the site's folder. */
export type SiteFiles = {
  readonly config: string;
  readonly hosts: string;
  readonly data: string;
  readonly modules: string;
  readonly log: string;
  readonly pid: string;
  /** Unix socket of Prosody's admin shell: whoever opens it rules the server. The folder (0700) guards it. */
  readonly adminSocket: string;
};

export function siteFiles(folder: string): SiteFiles {
  return {
    config: join(folder, "prosody.cfg.lua"),
    hosts: join(folder, "hosts"),
    data: join(folder, "data"),
    modules: join(folder, "modules"),
    log: join(folder, "prosody.log"),
    pid: join(folder, "prosody.pid"),
    adminSocket: join(folder, "prosody.sock"),
  };
}

/** `cloud.<domain>`: the site's public face. */
export function cloudDomain(domain: string): string {
  return `cloud.${domain}`;
}

/** `cm-<name>.<domain>`: the component of one cluster manager. */
export function managerDomain(name: string, domain: string): string {
  return `cm-${name}.${domain}`;
}

/** The names that the site's certificate must carry: those under which other sites or clients reach it. */
export function certificateNames(domain: string): readonly string[] {
  return [domain, cloudDomain(domain)];
}

/** Everything wrong with a site, all at once; empty when a server can be started from it (S1). */
export function siteFaults(site: ProsodySite): FieldFault[] {
  const faults: FieldFault[] = [];
  const expect = (holds: boolean, field: string, message: string): void => {
    if (!holds) faults.push({ field, message });
  };
  const expectDomain = (name: string, field: string): void =>
    expect(isDomain(name), field, "a lower-case domain name of letters, digits and hyphens is needed: alpha.test");
  expectDomain(site.domain, "domain");
  expect(isIPv4(site.address), "address", "an IPv4 address is needed: 127.0.11.1");
  if (site.componentAddress !== undefined)
    expect(isIPv4(site.componentAddress), "componentAddress", "an IPv4 address is needed: 127.0.0.1");
  faults.push(...componentTlsFaults(site));
  for (const [name, port] of Object.entries(site.ports ?? {}))
    expect(Number.isInteger(port) && port > 0 && port < 65536, `ports.${name}`, "a port from 1 to 65535 is needed");
  expect(isAbsolute(site.folder), "folder", "an absolute path is needed");
  expect(
    Buffer.byteLength(siteFiles(site.folder).adminSocket) <= SOCKET_PATH_BYTES_MAX,
    "folder",
    `the path of the socket in it is longer than ${SOCKET_PATH_BYTES_MAX} bytes, the system's limit: choose a shorter one`,
  );
  expect(isSecret(site.cloudSecret), "cloudSecret", SECRET_NEEDED);
  site.managers.forEach((manager, index) => {
    expectDomain(managerDomain(manager.name, site.domain), `managers[${index}].name`);
    expect(isSecret(manager.secret), `managers[${index}].secret`, SECRET_NEEDED);
  });
  for (const [index, peer] of site.peers.entries()) expectDomain(peer, `peers[${index}]`);
  for (const [index, { address, names }] of (site.names ?? []).entries()) {
    expect(isIPv4(address), `names[${index}].address`, "an IPv4 address is needed");
    for (const [nth, name] of names.entries()) expectDomain(name, `names[${index}].names[${nth}]`);
  }
  const seconds = site.deadPeerSeconds ?? 5;
  expect(seconds >= 1 && seconds <= 600, "deadPeerSeconds", "1 to 600 seconds are allowed");
  const tokens = site.pendingTokensMax ?? 1000;
  expect(Number.isInteger(tokens) && tokens >= 1 && tokens <= 10_000, "pendingTokensMax", "1 to 10000 are allowed");
  return faults;
}

/** The plain port beside a TLS one must not be a way around it. */
function componentTlsFaults({ address, componentAddress = address, componentTls }: ProsodySite): FieldFault[] {
  if (componentTls === undefined) return [];
  const faults: FieldFault[] = [];
  if (!isIPv4(componentTls.address ?? address))
    faults.push({ field: "componentTls.address", message: "an IPv4 address is needed: 192.0.2.1" });
  if (!componentAddress.startsWith("127."))
    faults.push({
      field: "componentAddress",
      message: "must be on loopback, 127.0.0.1, beside componentTls: the plain component port has no certificates",
    });
  return faults;
}

/** `sun_path` of a unix socket on Linux, without the closing zero byte. */
const SOCKET_PATH_BYTES_MAX = 107;
const SECRET_NEEDED = "a secret of 16 to 256 characters is needed";
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

function isDomain(name: string): boolean {
  return name.length <= 253 && name.includes(".") && name.split(".").every((label) => LABEL.test(label));
}

function isSecret(secret: string): boolean {
  return secret.length >= 16 && secret.length <= 256;
}
