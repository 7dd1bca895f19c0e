import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type Clock, identityOf, type Rng, signalProcess } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import {
  apiUrls,
  DEFAULT_WISH,
  Federation,
  type ProcessDeath,
  planFederation,
  type SitePlan,
  type SiteRun,
  stateFolder,
} from "@muster/federation";
import { PROSODY_PORTS } from "@muster/xmpp-server";
import { TcpRelay } from "./tcp-relay.ts";

export type RigOptions = {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Sites lie at `127.43.<loopback>.1` and the following ones. */
  readonly loopback: number;
  readonly hostsPerSite: number;
  readonly hostVcpus: number;
  readonly store: "level" | "etcd";
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

/** The ways to a site's XMPP server that have a relay in them. */
export const WAYS = ["peers", "hosts", "managers"] as const;
export type Way = (typeof WAYS)[number];

const PORT_OF_WAY: Readonly<Record<Way, number>> = {
  peers: PROSODY_PORTS.server,
  hosts: PROSODY_PORTS.clientTls,
  managers: PROSODY_PORTS.component,
};

/** A site of the rig: its processes, and a relay in each way to its XMPP server. */
export type RigSite = { readonly run: SiteRun; readonly relays: Readonly<Record<Way, TcpRelay>> };

/** A federation of two sites as `muster up` runs it, on addresses of its own, with a relay in every way. */
export class Rig {
  readonly state: string;
  readonly sites: readonly RigSite[];
  readonly #options: RigOptions;
  readonly #federation: Federation;
  /** What ended and was not started again; the run has failed then. */
  readonly #givenUp: readonly ProcessDeath[];
  #stopped: Promise<void> | undefined;

  private constructor(
    options: RigOptions,
    state: string,
    federation: Federation,
    sites: readonly RigSite[],
    givenUp: readonly ProcessDeath[],
  ) {
    this.#options = options;
    this.state = state;
    this.#federation = federation;
    this.sites = sites;
    this.#givenUp = givenUp;
  }

  /** Starts everything; throws where something does not come up, and leaves nothing running then, but its logs. */
  static async start(options: RigOptions): Promise<Rig> {
    // A short path, for sockets, which the XMPP server's own user may pass through.
    const state = mkdtempSync("/tmp/mt");
    chmodSync(state, 0o711);
    const plan = planFederation({
      ...DEFAULT_WISH,
      sites: 2,
      hostsPerSite: options.hostsPerSite,
      hostVcpus: options.hostVcpus,
      store: options.store,
      // Of etcd's members, which keep to 127.0.0.0/16.
      loopback: options.loopback,
    });
    if (!plan.ok) throw new Error(plan.error);
    const sitePlans = plan.value.sites.map((site, index) => relayed(site, options.loopback + index));
    const relays: Record<Way, TcpRelay>[] = [];
    const givenUp: ProcessDeath[] = [];
    try {
      for (const site of sitePlans) relays.push(await relaysOf(site, options.clock));
      const started = await Federation.start({
        plan: { ...plan.value, sites: sitePlans },
        stateRoot: state,
        fresh: true,
        clock: options.clock,
        rng: options.rng,
        progress: options.say,
        onFatal: (death) => {
          options.say(`${death.name} is given up: ${death.logTail}`);
          givenUp.push(death);
        },
        signal: options.signal,
      });
      if (!started.ok) throw new Error(started.error);
      const sites = started.value.sites.map((run, index) => {
        const own = relays[index];
        if (own === undefined) throw new Error(`${run.plan.name} has no relays`);
        return { run, relays: own };
      });
      return new Rig(options, state, started.value, sites, givenUp);
    } catch (cause) {
      // The logs stay: the message names their folder.
      for (const own of relays) await Promise.all(WAYS.map((way) => own[way].close()));
      throw cause;
    }
  }

  /** What keeps the sites' records, where it is not a folder of each. */
  get etcd(): Federation["etcd"] {
    return this.#federation.etcd;
  }

  get givenUp(): readonly ProcessDeath[] {
    return this.#givenUp;
  }

  /** A client with a connection of its own. */
  client(site: RigSite, patienceMs = 2_500): SiteClient {
    const { plan } = site.run;
    const token = readFileSync(`${stateFolder(this.state).site(plan.name).secrets}/admin-token`, "utf8").trim();
    const { clock, rng } = this.#options;
    return createSiteClient({ endpoint: { urls: apiUrls(plan), token }, clock, rng, timeoutMs: 3_000, patienceMs });
  }

  /** Sends a signal to a part of this federation, and to nothing else that may have its number by now. */
  signal(pid: number | undefined, signal: NodeJS.Signals): boolean {
    const identity = pid === undefined ? undefined : identityOf(pid);
    if (identity === undefined || !commandLine(identity.pid).includes(`${this.state}/`)) return false;
    return signalProcess(identity, signal);
  }

  /** Stops all managers, of sites and of hosts: stores and journals are nobody's then, and can be read. */
  async stopManagers(): Promise<void> {
    for (const { run } of this.sites) {
      await Promise.all(run.hosts.map(({ manager }) => manager.stop()));
      await Promise.all([...run.managers.values()].map((manager) => manager.stop()));
    }
  }

  /** Stops every process and relay; the state stays. Stopping again does nothing. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  remove(): void {
    rmSync(this.state, { recursive: true, force: true });
  }

  async #stop(): Promise<void> {
    for (const { relays } of this.sites) for (const way of WAYS) relays[way].mode = { kind: "pass" };
    await this.#federation.stop();
    await Promise.all(this.sites.flatMap(({ relays }) => WAYS.map((way) => relays[way].close())));
  }
}

/** The plan on addresses of 127.43.0.0/16, one for the site and one for each relay. */
function relayed(site: SitePlan, third: number): SitePlan {
  const at = (fourth: number): string => `127.43.${third}.${fourth}`;
  return { ...site, address: at(1), via: { peers: at(2), hosts: at(3), managers: at(4) } };
}

async function relaysOf({ address, via }: SitePlan, clock: Clock): Promise<Record<Way, TcpRelay>> {
  const listen = (way: Way): Promise<TcpRelay> => {
    const port = PORT_OF_WAY[way];
    return TcpRelay.listen({ address: via?.[way] ?? address, port }, { address, port }, clock);
  };
  return { peers: await listen("peers"), hosts: await listen("hosts"), managers: await listen("managers") };
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
