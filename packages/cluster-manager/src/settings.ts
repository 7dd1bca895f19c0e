import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type ConfigFault, err, ok, type Result, readConfig, readSecret, systemClock, systemRng } from "@muster/base";
import { type ComponentTls, checkComponentTls } from "@muster/xmpp";
import { type BearerTokens, readBearerTokens } from "./api/bearer-tokens.ts";
import { anchorPaths, type Config, configSchema } from "./config.ts";
import { type SiteStore, type StoreEars, siteStore } from "./leadership/site-store.ts";
import { reachOf } from "./peering/reach-config.ts";
import { readSiteKeys, type SiteKeys } from "./peering/site-key-file.ts";
import { defaultTerms, type EnrolmentTerms } from "./xmpp-face/enrolment.ts";
import { readLogin } from "./xmpp-face/peer-login.ts";

const USAGE = "usage: main.ts --config FILE";

/** Everything a manager's process is started from, read once. */
export type Settings = {
  readonly config: Config;
  /** Of `cloud.<site>`. */
  readonly secret: string;
  /** Of `cm-<name>.<site>`; without it this manager neither beats nor is beaten. */
  readonly managerSecret: string | undefined;
  /** TLS around both links; without it they are plain TCP. */
  readonly linkTls: ComponentTls | undefined;
  readonly tokens: BearerTokens;
  readonly siteKeys: SiteKeys;
  readonly enrolment: EnrolmentTerms;
  readonly storeFor: (ears: StoreEars) => SiteStore;
  readonly version: string;
};

/** Reads configuration, secrets and tokens; the error names every fault and its remedy. */
export function readSettings(args: readonly string[]): Result<Settings, string> {
  const file = readArguments(args);
  if (!file.ok) return file;
  const read = readConfig(file.value, configSchema);
  if (!read.ok) return err(read.error.message);
  const config = anchorPaths(read.value, file.value);
  const secret = readSecret(config.xmpp.secretFile);
  const managerSecret = readOptionalSecret(config.xmpp.managerSecretFile);
  const linkTls = readLinkTls(config);
  const tokens = readBearerTokens(config.api.tokensFile);
  const siteKeys = readSiteKeys(config.siteKeyFile);
  const enrolment = readTerms(config);
  const storeFor = siteStore(config, { clock: systemClock, rng: systemRng });
  const faults = [secret, managerSecret, tokens, enrolment].flatMap((part) => (part.ok ? [] : [part.error.message]));
  for (const part of [linkTls, siteKeys, storeFor]) if (!part.ok) faults.push(part.error);
  const logins = loginFaults(config);
  faults.push(...logins);
  if (!secret.ok || !managerSecret.ok || !linkTls.ok || !tokens.ok || !siteKeys.ok || !storeFor.ok || !enrolment.ok)
    return err(faults.join("\n"));
  if (logins.length > 0) return err(faults.join("\n"));
  return ok({
    config,
    secret: secret.value,
    managerSecret: managerSecret.value,
    linkTls: linkTls.value,
    tokens: tokens.value,
    siteKeys: siteKeys.value,
    enrolment: enrolment.value,
    storeFor: storeFor.value,
    version: productVersion(),
  });
}

/** Files for logging in at peers that cannot be read: better said now than when a peer is asked. */
function loginFaults({ peers }: Config): readonly string[] {
  return peers.flatMap((peer) => {
    const reach = reachOf(peer.reach);
    const read = reach?.kind === "client" ? readLogin(reach, "") : ok(undefined);
    return read.ok ? [] : [read.error];
  });
}

function readOptionalSecret(file: string | undefined): Result<string | undefined, ConfigFault> {
  return file === undefined ? ok(undefined) : readSecret(file);
}

/** Certificates and key of the link, read and checked against each other. */
function readLinkTls({ site, xmpp: { tls } }: Config): Result<ComponentTls | undefined, string> {
  if (tls === undefined) return ok(undefined);
  const [ca, cert, key] = [readSecret(tls.ca), readSecret(tls.cert), readSecret(tls.key)];
  if (!ca.ok || !cert.ok || !key.ok)
    return err([ca, cert, key].flatMap((file) => (file.ok ? [] : [file.error.message])).join("\n"));
  const linkTls = { caPem: ca.value, certPem: cert.value, keyPem: key.value, serverName: tls.serverName ?? site };
  const checked = checkComponentTls(linkTls);
  return checked.ok ? ok(linkTls) : err(`xmpp.tls.${checked.error}`);
}

/** What new hosts are told, by configuration. */
function readTerms({ site, enrolment }: Config): Result<EnrolmentTerms, ConfigFault> {
  const { caFile, ttlSeconds, service = defaultTerms(site).service } = enrolment;
  if (caFile === undefined) return ok({ service, ttlSeconds });
  const caPem = readSecret(caFile);
  return caPem.ok ? ok({ service, ttlSeconds, caPem: `${caPem.value}\n` }) : caPem;
}

function readArguments(args: readonly string[]): Result<string, string> {
  try {
    const { values } = parseArgs({ args: [...args], options: { config: { type: "string" } }, strict: true });
    return values.config === undefined ? err(USAGE) : ok(values.config);
  } catch (cause) {
    return err(`${cause instanceof Error ? cause.message : String(cause)}\n${USAGE}`);
  }
}

function productVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  const { version }: { readonly version?: unknown } = JSON.parse(text);
  return typeof version === "string" ? version : "0.0.0";
}
