/**
 * Entry point of the cluster manager: `main.ts --config FILE`.
 * Exit codes: 0 stopped as told, 1 failed, 2 usage or configuration, 3 deposed: another manager leads.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  type ConfigFault,
  err,
  ok,
  type Result,
  readConfig,
  readSecret,
  Shutdown,
  systemClock,
  systemRng,
} from "@muster/base";
import { createBorrower, createLender, generateSiteKey, type SiteKey, siteKeyFromPem } from "@muster/broker";
import { cloudAddress } from "@muster/protocol";
import { xmppComponentBus } from "@muster/xmpp";
import { type Logger, pino } from "pino";
import { type BearerTokens, readBearerTokens } from "./api/bearer-tokens.ts";
import { type ClusterManager, createClusterManager, type ManagerEnd } from "./cluster-manager.ts";
import { anchorPaths, type Config, configSchema, policyOf } from "./config.ts";
import { createCore } from "./core/create-core.ts";
import { type OpenStore, siteStore } from "./leadership/site-store.ts";
import { takeLead } from "./leadership/take-lead.ts";
import type { Store } from "./store/store.ts";
import type { StoreFault } from "./store/store-fault.ts";
import { defaultTerms, type EnrolmentTerms } from "./xmpp-face/enrolment.ts";
import { peerSeal } from "./xmpp-face/peer-seal.ts";
import { watchersOf } from "./xmpp-face/watchers.ts";

const USAGE = "usage: main.ts --config FILE";
const EXIT = { done: 0, failed: 1, configuration: 2, deposed: 3 } as const;
const LINK_REMEDY =
  "the XMPP server does not take this component: check site, xmpp.secretFile and the server's configuration; " +
  "on conflict another manager took the address";
/** Starting again does not help: somebody has to look. */
const NEEDS_ADMIN: ReadonlySet<StoreFault["kind"]> = new Set(["newer-schema", "foreign", "went-back"]);
/** Between two tries to open a store that another manager holds. */
const STANDBY_RETRY_MS = 250;

type Settings = {
  readonly config: Config;
  readonly secret: string;
  readonly tokens: BearerTokens;
  readonly siteKey: SiteKey;
  readonly enrolment: EnrolmentTerms;
  readonly openStore: (onWarning: (message: string) => void) => OpenStore;
};

// Not by itself: the XMPP library's timer for closing politely outlives a link that was reset meanwhile.
process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  const settings = readSettings(args);
  if (!settings.ok) {
    process.stderr.write(`${settings.error}\n`);
    return EXIT.configuration;
  }
  const { site, name, logLevel } = settings.value.config;
  const log = pino({
    level: logLevel,
    base: { site, manager: name },
    timestamp: pino.stdTimeFunctions.isoTime,
    // Nothing of ours logs these; whoever adds a log line of a request must not log its token either (S3).
    redact: ["*.authorization", "*.headers.authorization", "*.token", "*.secret", "*.password"],
  });
  const shutdown = new Shutdown(systemClock);
  try {
    return await run(settings.value, log, shutdown);
  } catch (cause) {
    log.fatal({ error: cause instanceof Error ? cause.stack : String(cause) }, "cannot go on");
    return EXIT.failed;
  } finally {
    const { late, failed } = await shutdown.run();
    if (late.length + failed.length > 0) log.warn({ late, failed }, "not everything closed");
    log.info({}, "stopped");
  }
}

async function run(settings: Settings, log: Logger, shutdown: Shutdown): Promise<number> {
  const { config } = settings;
  const ended = Promise.withResolvers<number>();
  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      log.info({ signal }, "stopping; VMs are left as they are");
      stopping.abort();
      ended.resolve(EXIT.done);
    });
  }
  const opened = await takeLead({
    clock: systemClock,
    open: settings.openStore((message) => log.warn({ reason: message }, "the store needs care")),
    retryMs: STANDBY_RETRY_MS,
    signal: stopping.signal,
    onStandby: (message) => log.info({ reason: message }, "standing by"),
  });
  if (!opened.ok) {
    if (stopping.signal.aborted) return EXIT.done;
    log.fatal({ reason: opened.error.message }, "the store cannot be opened");
    return NEEDS_ADMIN.has(opened.error.kind) ? EXIT.configuration : EXIT.failed;
  }
  const store = opened.value;
  shutdown.add("store", () => store.close());
  log.info({ term: store.term }, "leading");
  const manager = await managerOf(settings, store, log, (end) => ended.resolve(exitCodeOf(end, log)));
  shutdown.add("manager", () => manager.stop());
  await manager.start();
  const { host, port } = config.api;
  await manager.api.listen({ host, port });
  log.info({ addresses: manager.api.addresses() }, "the API listens");
  return ended.promise;
}

function managerOf(
  { config, secret, tokens, siteKey, enrolment }: Settings,
  store: Store,
  log: Logger,
  onEnd: (end: ManagerEnd) => void,
): Promise<ClusterManager> {
  const version = productVersion();
  const policy = policyOf(config, store.term, `muster/${version}`);
  return createClusterManager({
    clock: systemClock,
    rng: systemRng,
    log,
    store,
    makeCore: () => {
      const { leaseGraceMs: graceMs, rememberMs } = policy.timing;
      return createCore({ policy, lender: createLender(), borrower: createBorrower({ graceMs, rememberMs }) });
    },
    bus: xmppComponentBus({
      clock: systemClock,
      rng: systemRng,
      host: config.xmpp.host,
      port: config.xmpp.port,
      domain: cloudAddress(config.site),
      secret,
      onFault: (where, error) =>
        log.warn({ where, error: error instanceof Error ? error.message : String(error) }, "XMPP oddity"),
    }),
    domain: config.site,
    manager: config.name,
    version,
    hosts: config.hosts,
    peerings: policy.peerings,
    seal: peerSeal(config.site, siteKey),
    watchers: watchersOf(config.watchers),
    tokens,
    commandTimeoutMs: config.timing.commandTimeoutMs,
    enrolment,
    onEnd,
  });
}

function exitCodeOf(end: ManagerEnd, log: Logger): number {
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

function readSettings(args: readonly string[]): Result<Settings, string> {
  const file = readArguments(args);
  if (!file.ok) return file;
  const read = readConfig(file.value, configSchema);
  if (!read.ok) return err(read.error.message);
  const config = anchorPaths(read.value, file.value);
  const secret = readSecret(config.xmpp.secretFile);
  const tokens = readBearerTokens(config.api.tokensFile);
  const siteKey = readSiteKey(config.siteKeyFile);
  const enrolment = readTerms(config);
  const openStore = siteStore(config, { clock: systemClock, rng: systemRng });
  const faults = [secret, tokens, enrolment].flatMap((part) => (part.ok ? [] : [part.error.message]));
  for (const part of [siteKey, openStore]) if (!part.ok) faults.push(part.error);
  if (!secret.ok || !tokens.ok || !siteKey.ok || !enrolment.ok || !openStore.ok) return err(faults.join("\n"));
  return ok({
    config,
    secret: secret.value,
    tokens: tokens.value,
    siteKey: siteKey.value,
    enrolment: enrolment.value,
    openStore: openStore.value,
  });
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

/** A site without peers signs nothing that anybody checks: a key of the moment will do. */
function readSiteKey(file: string | undefined): Result<SiteKey, string> {
  if (file === undefined) return ok(generateSiteKey());
  const pem = readSecret(file);
  if (!pem.ok) return err(pem.error.message);
  const key = siteKeyFromPem(pem.value);
  return key.ok ? key : err(`${file}: ${key.error}`);
}

function productVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  const { version }: { readonly version?: unknown } = JSON.parse(text);
  return typeof version === "string" ? version : "0.0.0";
}
