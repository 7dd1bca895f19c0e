/** A whole site in memory for tests: real core, real loop, face and API on a memory store and a memory network. */
import { createHash } from "node:crypto";
import { Writable } from "node:stream";
import { systemClock, systemRng } from "@muster/base";
import { createBorrower, createLedger, createLender, generateSiteKey, type SiteKey } from "@muster/broker";
import { cloudAddress, REACH_RESOURCE } from "@muster/protocol";
import { type MemoryNetwork, memoryNetwork } from "@muster/xmpp";
import { pino } from "pino";
import { bearerTokens } from "../api/bearer-tokens.ts";
import { type ClusterManager, createClusterManager, type ManagerEnd } from "../cluster-manager.ts";
import { type Config, configSchema, policyOf } from "../config.ts";
import type { Core } from "../core/core.ts";
import { createCore } from "../core/create-core.ts";
import { imageTickets } from "../images/image-ticket.ts";
import { fixedKeys, type SiteKeys } from "../peering/site-key-file.ts";
import { MemoryDisk, openMemoryStore } from "../store/memory-store.ts";
import { peerSeal } from "../xmpp-face/peer-seal.ts";
import { ScriptedHost } from "../xmpp-face/scripted-host.fixture.ts";
import { watchersOf } from "../xmpp-face/watchers.ts";

export const TOKENS = { admin: "admin-token", user: "user-token", viewer: "viewer-token", other: "other-token" };

export type BedOptions = {
  readonly domain?: string;
  readonly hosts?: readonly string[];
  readonly network?: MemoryNetwork;
  readonly disk?: MemoryDisk;
  readonly key?: SiteKey;
  /** Where the site has several. */
  readonly keys?: SiteKeys;
  readonly peers?: readonly { readonly domain: string; readonly publicKey: string; readonly reach?: object }[];
  readonly callersMax?: number;
  readonly config?: object;
};

export type Reply = { readonly status: number; readonly body: Json; readonly headers: Record<string, unknown> };
/** An answer as tests look into it. */
export interface Json {
  readonly [key: string]: Json | undefined;
}

export const newNetwork = (): MemoryNetwork => memoryNetwork({ clock: systemClock, rng: systemRng });

/** The core of a site by its configuration, everything left out as in production but faster. */
export function coreOf(config: Config, term: number, keys?: SiteKeys): Core {
  return createCore({
    policy: policyOf(config, term, "muster/test"),
    lender: createLender(),
    borrower: createBorrower(),
    ...(keys === undefined
      ? {}
      : { ownKeys: keys.lasting, ledger: createLedger({ domain: config.site, keys: keys.keys }) }),
    ...(config.imageStore === undefined
      ? {}
      : { imageUrl: (digest: string, nowMs: number) => TICKETS.urlOf(IMAGE_BASE, digest, nowMs) }),
  });
}

/** Tickets of every bed, and where their hosts are told to fetch. */
export const TICKETS = imageTickets("the site's secret");
const IMAGE_BASE = "http://127.52.0.9:7420";

export function configOf(domain: string, more: object = {}): Config {
  return configSchema.parse({
    site: domain,
    xmpp: { secretFile: "unused" },
    store: { path: "unused" },
    api: { tokensFile: "unused" },
    images: [{ tag: "debian-12" }],
    timing: { settleMs: 300, commandTimeoutMs: 1_000 },
    siteKeyFile: "unused",
    ...more,
  });
}

export class TestBed {
  readonly domain: string;
  readonly network: MemoryNetwork;
  readonly disk: MemoryDisk;
  readonly hosts = new Map<string, ScriptedHost>();
  readonly ends: ManagerEnd[] = [];
  readonly log: string[];
  readonly manager: ClusterManager;

  private constructor(parts: Pick<TestBed, "domain" | "network" | "disk" | "log" | "manager" | "ends">) {
    this.domain = parts.domain;
    this.network = parts.network;
    this.disk = parts.disk;
    this.log = parts.log;
    this.manager = parts.manager;
    this.ends = parts.ends;
  }

  static async start(options: BedOptions = {}): Promise<TestBed> {
    const { domain = "alpha.test", network = newNetwork(), disk = new MemoryDisk(), key = generateSiteKey() } = options;
    const { keys = fixedKeys(key) } = options;
    const peers = (options.peers ?? []).map((peer) => ({ ...peer, lend: { accept: true, share: 1 } }));
    const config = configOf(domain, { hosts: options.hosts ?? [], peers, ...options.config });
    const opened = await openMemoryStore({ disk });
    if (!opened.ok) throw new Error(opened.error.message);
    const log: string[] = [];
    const ends: ManagerEnd[] = [];
    const manager = await createClusterManager({
      clock: systemClock,
      rng: systemRng,
      log: pino({ level: "trace" }, sink(log)),
      store: opened.value,
      makeCore: () => coreOf(config, opened.value.term, keys),
      bus: network.component(cloudAddress(domain)),
      domain,
      manager: config.name,
      version: "0.0.0-test",
      hosts: config.hosts,
      seal: peerSeal(domain, keys.keys),
      makeLogin: ({ jid }) => network.client(`${jid}/${REACH_RESOURCE}`),
      siteKeys: keys,
      watchers: watchersOf(config.watchers),
      tokens: bearerTokens(tokenEntries()),
      commandTimeoutMs: config.timing.commandTimeoutMs,
      fencing: config.fencing,
      ...(config.imageStore === undefined
        ? {}
        : {
            images: {
              folder: config.imageStore.folder,
              bytesMax: config.imageStore.capacityGiB * 2 ** 30,
              tickets: TICKETS,
            },
          }),
      ...(options.callersMax === undefined ? {} : { callersMax: options.callersMax }),
      onEnd: (end) => void ends.push(end),
    });
    const bed = new TestBed({ domain, network, disk, log, manager, ends });
    for (const name of config.hosts) bed.hosts.set(name, new ScriptedHost({ name, domain, network }));
    await manager.start();
    await until("the link is up", async () => {
      const ready = await bed.send("GET", "/readyz");
      return !String(ready.body.detail).includes("XMPP");
    });
    for (const host of bed.hosts.values()) host.start();
    if (bed.hosts.size > 0)
      await until("the hosts are alive", async () => {
        const { body } = await bed.get("/v1/site");
        return String(body.reconciled) === "true" && Number(body.hosts?.alive) === bed.hosts.size;
      });
    return bed;
  }

  host(name: string): ScriptedHost {
    const host = this.hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}`);
    return host;
  }

  async send(
    method: "GET" | "POST" | "DELETE",
    url: string,
    more: { body?: unknown; raw?: string; token?: string | undefined; headers?: Record<string, string> } = {},
  ): Promise<Reply> {
    const token = "token" in more ? more.token : TOKENS.admin;
    const payload = more.raw ?? (more.body === undefined ? undefined : JSON.stringify(more.body));
    const headers: Record<string, string> = {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(payload === undefined ? {} : { "content-type": "application/json" }),
      ...more.headers,
    };
    const request = { method, url, headers, ...(payload === undefined ? {} : { payload }) };
    const reply = await this.manager.api.inject(request);
    const isJson = String(reply.headers["content-type"]).includes("json");
    const answer: Json = JSON.parse(isJson ? reply.body : JSON.stringify({ text: reply.body }));
    return { status: reply.statusCode, body: answer, headers: reply.headers };
  }

  get(url: string, token = TOKENS.admin): Promise<Reply> {
    return this.send("GET", url, { token });
  }

  create(body: object, more: { key?: string; token?: string } = {}): Promise<Reply> {
    return this.send("POST", "/v1/vms", {
      body: { name: "web", spec: SPEC, ...body },
      token: more.token ?? TOKENS.admin,
      headers: more.key === undefined ? {} : { "idempotency-key": more.key },
    });
  }

  async untilPhase(vm: string, phase: string): Promise<Json> {
    let seen: Json = {};
    await until(`${vm} is ${phase}`, async () => {
      seen = (await this.get(`/v1/vms/${vm}`)).body;
      return String(seen.phase) === phase;
    });
    return seen;
  }

  /** Stops as after SIGTERM. The disk and the network stay for the next one. */
  async stop(): Promise<void> {
    for (const host of this.hosts.values()) await host.stop();
    await this.manager.stop();
  }
}

export const SPEC = { image: "debian-12", vcpus: 2, memoryMiB: 1_024, diskGiB: 10 };

/** Waits for a condition; fails with its name when it does not come true in time. */
export async function until(
  claim: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 8_000,
): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not in time: ${claim}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function tokenEntries(): Parameters<typeof bearerTokens>[0] {
  const entry = (name: keyof typeof TOKENS, role: "admin" | "user" | "viewer", projects: string[]) => ({
    name,
    sha256: createHash("sha256").update(TOKENS[name]).digest("hex"),
    user: name,
    role,
    projects,
  });
  return [
    entry("admin", "admin", ["*"]),
    entry("user", "user", ["default"]),
    entry("viewer", "viewer", ["*"]),
    entry("other", "user", ["elsewhere"]),
  ];
}

function sink(lines: string[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
}
