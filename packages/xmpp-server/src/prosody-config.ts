import { type LuaValue, lua, luaString } from "./lua.ts";
import { cloudDomain, managerDomain, PROSODY_PORTS, type ProsodySite, siteFiles } from "./prosody-site.ts";

/**
 * The configuration of one site's Prosody 0.12, as the text of its Lua file. It holds secrets: write it 0600.
 * What must hold: TLS everywhere but on the component port, certificates verified in both directions, no dialback,
 * registration only with a token of ours, peers reach `cloud.<domain>` and nothing else.
 */
export function prosodyConfig(site: ProsodySite): string {
  const cloud = cloudDomain(site.domain);
  return [
    "-- Written by the program at every start: changes made here are lost.",
    ...options(processOptions(site)),
    ...options(networkOptions(site)),
    ...options(securityOptions(site)),
    ...options(componentTlsOptions(site)),
    ...options(serverModules(site)),
    "",
    `VirtualHost ${luaString(site.domain)}`,
    // Peers have no stream to the accounts' domain, and none of their stanzas reaches it through another stream.
    ...options({
      modules_enabled: ACCOUNT_MODULES,
      modules_disabled: ["s2s"],
      muster_enrol_component: cloud,
      muster_peers_component: cloud,
      muster_enrol_pending_max: site.pendingTokensMax ?? 1000,
    }),
    "",
    `Component ${luaString(cloud)}`,
    ...options({
      component_secret: site.cloudSecret,
      // The store decides who leads, not the link: the winner of a term takes the address, also from a hung leader.
      component_conflict_resolve: "kick_old",
      modules_enabled: cloudModules(site),
      muster_peers: site.peers,
      ...linkNames(
        site,
        site.managers.map(({ name }) => managerDomain(name, site.domain)),
      ),
    }),
    ...site.managers.flatMap((manager) => [
      "",
      `Component ${luaString(managerDomain(manager.name, site.domain))}`,
      ...options({
        component_secret: manager.secret,
        component_conflict_resolve: "kick_old",
        modules_enabled: managerModules(site),
        modules_disabled: ["s2s"],
        ...linkNames(site, [managerDomain(manager.name, site.domain)]),
      }),
    ]),
    "",
  ].join("\n");
}

/** The modules of ours that each host must have loaded: without one of them its protection is missing. */
export function requiredModules(site: ProsodySite): readonly { readonly host: string; readonly module: string }[] {
  const of = (host: string, modules: readonly string[]) => modules.map((module) => ({ host, module }));
  return [
    ...of(site.domain, ACCOUNT_MODULES),
    ...of(cloudDomain(site.domain), cloudModules(site)),
    ...site.managers.flatMap(({ name }) => of(managerDomain(name, site.domain), managerModules(site))),
  ];
}

/** `muster_peers_only` takes there the list of peers that the leader sets. */
const ACCOUNT_MODULES = ["muster_local_only", "muster_enrol", "muster_peers_only", "muster_peer_accounts"];
const cloudModules = (site: ProsodySite): readonly string[] => ["muster_peers_only", ...linkModules(site)];
const managerModules = (site: ProsodySite): readonly string[] => ["muster_local_only", ...linkModules(site)];

/** What guards the link of a component. */
function linkModules({ componentTls }: ProsodySite): readonly string[] {
  return ["muster_component_watchdog", ...(componentTls === undefined ? [] : ["muster_component_tls"])];
}

/** Names of which a manager's certificate needs one in order to link as a component. */
function linkNames({ componentTls }: ProsodySite, names: readonly string[]): Options {
  return componentTls === undefined ? {} : { muster_component_tls_names: names };
}

/** The private hosts file of the site's resolver, in the format of hosts(5). */
export function hostsFile(site: Pick<ProsodySite, "names">): string {
  return (site.names ?? []).map(({ address, names }) => `${address} ${names.join(" ")}\n`).join("");
}

type Options = { readonly [name: string]: LuaValue };

function options(values: Options): string[] {
  return Object.entries(values).map(([name, value]) => `${name} = ${lua(value)}`);
}

function processOptions(site: ProsodySite): Options {
  const files = siteFiles(site.folder);
  return {
    pidfile: files.pid,
    data_path: files.data,
    plugin_paths: [files.modules],
    admin_socket: files.adminSocket,
    umask: "077",
    log: [{ levels: { min: "info" }, to: "file", filename: files.log }],
  };
}

function networkOptions(site: ProsodySite): Options {
  const ports = { ...PROSODY_PORTS, ...site.ports };
  const deadPeerSeconds = site.deadPeerSeconds ?? 5;
  return {
    interfaces: [site.address],
    component_interfaces: [site.componentAddress ?? site.address],
    use_ipv6: false,
    c2s_ports: [ports.client],
    c2s_direct_tls_ports: [ports.clientTls],
    s2s_ports: site.outboundOnly === true ? [] : [ports.server],
    component_ports: [ports.component],
    http_ports: [],
    https_ports: [],
    unbound: resolver(site),
    // Nagle costs 20 ms a round trip. The defaults (14 minutes, 3 minutes) hide dead hosts and dead peers.
    network_settings: {
      nagle: false,
      read_timeout: deadPeerSeconds,
      send_timeout: Math.max(2, 2 * deadPeerSeconds),
      ssl_handshake_timeout: 10,
    },
    // A session that could be resumed for 10 minutes, the default, counts as present for as long.
    smacks_hibernation_time: deadPeerSeconds,
    s2s_timeout: 8,
    // The defaults, 10 and 30 kB/s, throttle federation to 58 messages a second and switch read_timeout off.
    limits: { c2s: { rate: "1mb/s" }, s2sin: { rate: "10mb/s" } },
  };
}

function resolver(site: ProsodySite): Options {
  if (site.names === undefined)
    return { resolvconf: true, hoststxt: true, options: { "do-not-query-localhost:": "no" } };
  // The root as a static zone: what the hosts file does not name is unknown at once, instead of after 20 s of trying.
  return { resolvconf: false, hoststxt: siteFiles(site.folder).hosts, options: { "local-zone:": ". static" } };
}

function securityOptions(site: ProsodySite): Options {
  return {
    ssl: {
      key: site.tls.keyPath,
      certificate: site.tls.certificatePath,
      cafile: site.tls.caPath,
      capath: false,
      protocol: "tlsv1_2+",
    },
    c2s_require_encryption: true,
    s2s_require_encryption: true,
    s2s_secure_auth: true,
    authentication: "internal_hashed",
    allow_registration: true,
    registration_invite_only: true,
    invite_expiry: 3600,
  };
}

/** Only the managers' authority is trusted there: with the system's, anybody's certificate for the name would do. */
function componentTlsOptions({ componentTls, address, ports, tls }: ProsodySite): Options {
  if (componentTls === undefined) return {};
  return {
    muster_component_tls_interfaces: [componentTls.address ?? address],
    muster_component_tls_ports: [ports?.componentTls ?? PROSODY_PORTS.componentTls],
    muster_component_tls_ssl: {
      key: tls.keyPath,
      certificate: tls.certificatePath,
      cafile: componentTls.caPath ?? tls.caPath,
      capath: false,
      protocol: "tlsv1_2+",
    },
  };
}

/** `invites_adhoc` stays out: tokens come from `muster_enrol` alone. */
const serverModules = ({ outboundOnly }: ProsodySite): Options => ({
  modules_enabled: [
    ...["roster", "saslauth", "tls", "s2s_auth_certs", "disco", "ping", "version", "smacks", "limits", "admin_shell"],
    ...["register_ibr", "invites", "invites_register"],
  ],
  modules_disabled: ["dialback", ...(outboundOnly === true ? ["s2s"] : [])],
});
