import { type EjabberdSite, ejabberdFiles } from "./ejabberd-site.ts";
import { cloudDomain, managerDomain, PROSODY_PORTS } from "./prosody-site.ts";

/** Name of our module for ejabberd, `deploy/ejabberd-modules/<name>.erl`. */
export const EJABBERD_MODULE = "mod_muster";

/** RFC 6120 asks for 10,000 at least; our stanzas stay below 64 KiB. */
const CLIENT_STANZA_BYTES_MAX = 262_144;
const STANZA_BYTES_MAX = 524_288;
const LOG_BYTES_MAX = 8 * 1024 * 1024;

/**
 * The configuration of one site's ejabberd 23.01, as the text of its YAML file: one option a line, each value written as
 * JSON, which YAML contains. It holds secrets: write it 0600.
 * What must hold: TLS everywhere but on the component port, certificates verified in both directions, no dialback, no
 * registration by strangers, peers reach `cloud.<domain>` and nothing else (`mod_muster`).
 */
export function ejabberdConfig(site: EjabberdSite): string {
  const lines = Object.entries({ ...general(site), ...security(site), listen: listeners(site), ...commands() });
  return [
    "# Written by the program at every start: changes made here are lost.",
    ...lines.map(([name, value]) => `${name}: ${JSON.stringify(value)}`),
    `modules: ${JSON.stringify(modules(site))}`,
    "",
  ].join("\n");
}

type Options = Readonly<Record<string, unknown>>;

function general({ domain }: EjabberdSite): Options {
  return {
    hosts: [domain],
    // One level below, each command is logged with its parameters: passwords of accounts are among them (S3).
    loglevel: "notice",
    log_rotate_size: LOG_BYTES_MAX,
    log_rotate_count: 1,
    // A peer that was away is tried again at once; the default waits up to 300 s, in which stanzas are bounced.
    s2s_max_retry_delay: 1,
    s2s_dns_timeout: 5,
    s2s_dns_retries: 1,
  };
}

function security({ tls, outboundOnly }: EjabberdSite): Options {
  return {
    certfiles: [tls.certificatePath, tls.keyPath],
    ca_file: tls.caPath,
    s2s_cafile: tls.caPath,
    // With certificates only: mod_s2s_dialback is not loaded.
    s2s_use_starttls: "required",
    s2s_protocol_options: TLS_OPTIONS,
    c2s_protocol_options: TLS_OPTIONS,
    s2s_access: outboundOnly === true ? "none" : "all",
    auth_method: ["internal"],
    auth_password_format: "scram",
    auth_scram_hash: "sha256",
    disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"],
  };
}

const TLS_OPTIONS = ["no_sslv3", "no_tlsv1", "no_tlsv1_1", "cipher_server_preference"];

function listeners(site: EjabberdSite): readonly Options[] {
  const { address, componentAddress = address, folder, cloudSecret, managers, domain, outboundOnly } = site;
  const ports = { ...PROSODY_PORTS, ...site.ports };
  const clients = { ip: address, module: "ejabberd_c2s", max_stanza_size: CLIENT_STANZA_BYTES_MAX };
  const secrets = [
    [cloudDomain(domain), cloudSecret],
    ...managers.map(({ name, secret }) => [managerDomain(name, domain), secret]),
  ];
  return [
    { ...clients, port: ports.client, starttls_required: true },
    { ...clients, port: ports.clientTls, tls: true },
    ...(outboundOnly === true
      ? []
      : [{ ip: address, module: "ejabberd_s2s_in", port: ports.server, max_stanza_size: STANZA_BYTES_MAX }]),
    {
      ip: componentAddress,
      module: "ejabberd_service",
      port: ports.component,
      // A link takes the address that it names; the default gives it all of them.
      global_routes: false,
      max_stanza_size: STANZA_BYTES_MAX,
      hosts: Object.fromEntries(secrets.map(([name, password]) => [name, { password }])),
    },
    {
      module: "ejabberd_http",
      port: `unix:${ejabberdFiles(folder).adminSocket}`,
      request_handlers: { "/api": "mod_http_api" },
    },
  ];
}

/** The commands are asked for over the unix socket alone, of which the folder says who may open it. */
function commands(): Options {
  const what = ["status", "register", "unregister", "check_account", "check_password", "change_password"];
  const admin = { from: ["mod_http_api"], who: "all", what: [...what, "reload_config"] };
  return { api_permissions: { muster: admin } };
}

/** `mod_offline` stays out: what is said to a host that is away must come back, not arrive an hour later. */
function modules({ peers, deadPeerSeconds = 5 }: EjabberdSite): Options {
  return {
    mod_admin_extra: {},
    mod_disco: {},
    mod_roster: {},
    mod_version: { show_os: false },
    // The defaults keep a session that is gone for 5 minutes, and never ask a silent one.
    mod_stream_mgmt: { resume_timeout: deadPeerSeconds, ack_timeout: deadPeerSeconds },
    mod_ping: {
      send_pings: true,
      ping_interval: deadPeerSeconds,
      ping_ack_timeout: deadPeerSeconds,
      timeout_action: "kill",
    },
    [EJABBERD_MODULE]: { peers },
  };
}
