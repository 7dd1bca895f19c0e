/** Two sites as `muster up` runs them, with a tap in the links of their managers and a relay in the way between their servers. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { seededRng, systemClock } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import {
  apiUrls,
  DEFAULT_WISH,
  Federation,
  planFederation,
  type SitePlan,
  type SiteRun,
  stateFolder,
} from "@muster/federation";
import { PROSODY_PORTS } from "@muster/xmpp-server";
import { until } from "../system/until.ts";
import { TcpRelay } from "../torture/tcp-relay.ts";
import { MessageTap, type Passing } from "./message-tap.ts";

/** How long a manager that was killed stays down: the other one leads meanwhile. */
const DOWN_MS = 500;
/** Where both managers were killed one soon after the other, and the machine is busy. */
const LED_WITHIN_MS = 120_000;
const { server: SERVER_PORT, component: COMPONENT_PORT } = PROSODY_PORTS;

export class CutBed {
  readonly sites: ReadonlyMap<string, SiteRun>;
  /** Called for every message between the sites, at each of its two moments. */
  onMessage: ((message: Passing) => void) | undefined;
  readonly #state: string;
  readonly #federation: Federation;
  readonly #between: readonly TcpRelay[];
  readonly #taps: readonly MessageTap[];
  readonly #leaders = new Map<string, string>();

  private constructor(
    state: string,
    federation: Federation,
    between: readonly TcpRelay[],
    taps: readonly MessageTap[],
    hear: (tell: (message: Passing) => void) => void,
  ) {
    this.#state = state;
    this.#federation = federation;
    this.#between = between;
    this.#taps = taps;
    this.sites = new Map(federation.sites.map((run) => [run.plan.name, run]));
    hear((message) => this.onMessage?.(message));
  }

  static async start(third: number, signal: AbortSignal): Promise<CutBed> {
    const state = mkdtempSync("/tmp/mx");
    chmodSync(state, 0o711);
    const wish = {
      ...DEFAULT_WISH,
      sites: 2,
      hostsPerSite: 1,
      hypervisor: "simulated",
      hostVcpus: 32,
      loopback: third,
    } as const;
    const plan = planFederation(wish);
    if (!plan.ok) throw new Error(plan.error);
    const sites = plan.value.sites.map((site, index) => relayed(site, third + index));
    let tell: ((message: Passing) => void) | undefined;
    const between: TcpRelay[] = [];
    const taps: MessageTap[] = [];
    try {
      for (const { name, address, via } of sites) {
        const to = { address, port: SERVER_PORT };
        between.push(await TcpRelay.listen({ address: via?.peers ?? address, port: SERVER_PORT }, to));
        const managers = { address: via?.managers ?? address, port: COMPONENT_PORT };
        taps.push(await MessageTap.listen(name, managers, { address, port: COMPONENT_PORT }, (one) => tell?.(one)));
      }
      const started = await Federation.start({
        plan: { ...plan.value, sites },
        stateRoot: state,
        fresh: true,
        clock: systemClock,
        rng: seededRng(third),
        progress: () => {},
        onFatal: () => {},
        signal,
      });
      if (!started.ok) throw new Error(started.error);
      return new CutBed(state, started.value, between, taps, (teller) => {
        tell = teller;
      });
    } catch (cause) {
      await Promise.all([...between, ...taps].map((one) => one.close()));
      throw cause;
    }
  }

  client(name: string): SiteClient {
    const token = readFileSync(`${stateFolder(this.#state).site(name).secrets}/admin-token`, "utf8").trim();
    const { plan } = this.#site(name);
    return createSiteClient({
      endpoint: { urls: apiUrls(plan), token },
      clock: systemClock,
      rng: seededRng(1),
      timeoutMs: 3_000,
      patienceMs: 20_000,
    });
  }

  /** Nothing passes between the servers any more, whatever is on its way is lost. */
  cut(): void {
    for (const relay of this.#between) relay.mode = { kind: "cut" };
  }

  heal(): void {
    for (const relay of this.#between) relay.mode = { kind: "pass" };
  }

  /** Kills the manager that led there when somebody last looked; whoever watches it starts it anew. */
  killLeader(name: string): void {
    const leader = this.#leaders.get(name);
    if (leader !== undefined) this.#site(name).managers.get(leader)?.crash(DOWN_MS);
  }

  /** Waits until each site has a manager that says that it leads. */
  async untilLed(): Promise<void> {
    for (const [name, site] of this.sites)
      await until(
        `${name} is led`,
        async () => {
          const leader = await site.leader();
          if (leader !== undefined) this.#leaders.set(name, leader);
          return leader !== undefined;
        },
        LED_WITHIN_MS,
      );
  }

  async stop(): Promise<void> {
    this.heal();
    await this.#federation.stop();
    await Promise.all([...this.#between, ...this.#taps].map((one) => one.close()));
    rmSync(this.#state, { recursive: true, force: true });
  }

  #site(name: string): SiteRun {
    const site = this.sites.get(name);
    if (site === undefined) throw new Error(`there is no site ${name}`);
    return site;
  }
}

/** The plan on addresses of 127.46.0.0/16: one for the site, one for each relay. */
function relayed(site: SitePlan, third: number): SitePlan {
  const at = (fourth: number): string => `127.46.${third}.${fourth}`;
  return { ...site, address: at(1), via: { peers: at(2), managers: at(3) } };
}
