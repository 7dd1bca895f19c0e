import { resolve } from "node:path";
import { type Clock, err, identityOf, ok, type Result, type Rng, type Shutdown } from "@muster/base";
import { cloudAddress, managerAddress, type Refusal, refusal, type StepDownView } from "@muster/protocol";
import type { Logger } from "pino";
import { FrontDoor, type LeaderHint } from "./api/front-door.ts";
import {
  type ClusterManager,
  type ClusterManagerOptions,
  type Colleagues,
  createClusterManager,
  type ManagerEnd,
  NO_STANDBY,
} from "./cluster-manager.ts";
import { componentLink } from "./component-link.ts";
import type { Config } from "./config.ts";
import { leaderOptions } from "./leader-options.ts";
import type { Pulse } from "./leadership/beat-message.ts";
import { writeLeaderNote } from "./leadership/leader-note.ts";
import { LoopLag } from "./leadership/loop-lag.ts";
import { ManagerLink } from "./leadership/manager-link.ts";
import { claimName } from "./leadership/name-claim.ts";
import { Standby } from "./leadership/standby.ts";
import { standbyDoor } from "./leadership/standby-door.ts";
import { type Succession, successionOf } from "./leadership/succession.ts";
import { type WarmUpOptions, warmUp } from "./leadership/warm-up.ts";
import { EXIT, exitCodeOf, NEEDS_ADMIN } from "./process-exit.ts";
import type { Settings } from "./settings.ts";
import type { Store } from "./store/store.ts";

/** After a hand-over the store is left to the successor for so long. */
const HAND_OVER_GRACE_MS = 3_000;
/** Longest wait for the successor's word that it heard. */
const HAND_OVER_HEARD_MS = 1_000;
/** Beats after which a standby that is not heard counts as gone. */
const STANDBY_BEATS = 10;

export type ManagerProcessOptions = {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  readonly shutdown: Shutdown;
};

/** How a time of leading ended: the process is to end with a code, or this manager stands by again. */
type LeadEnd = { readonly kind: "exit"; readonly code: number } | { readonly kind: "handed-over" };
/** What ends it. */
type EndCause =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "step-down"; readonly successor: string };

/**
 * The life of one manager: stands by, leads, hands over and stands by again.
 *
 * ```
 *  standing by ──store opened──▶ leading ──step-down──▶ standing by
 *                                   └── deposed, fault, told to stop ──▶ end
 * ```
 */
export class ManagerProcess {
  readonly #options: ManagerProcessOptions;
  readonly #config: Config;
  readonly #stopping = new AbortController();
  readonly #front: FrontDoor;
  readonly #link: ManagerLink | undefined;
  readonly #succession: Succession;
  #url = "";
  #warm = false;
  #pulse: Pulse = { role: "standby", term: 0 };
  #standby: Standby | undefined;
  #leading: { readonly manager: ClusterManager; readonly store: Store } | undefined;
  #endLead: (end: EndCause) => void = () => {};
  #onStandbys: () => void = () => {};
  #fault: Result<void, number> = ok(undefined);

  constructor(options: ManagerProcessOptions) {
    this.#options = options;
    this.#config = options.settings.config;
    this.#front = new FrontDoor(standbyDoor(() => this.#hint()));
    this.#link = this.#makeLink();
    const { settings, clock, log } = options;
    const store = settings.storeFor({
      onWarning: (message) => log.warn({ reason: message }, "the store needs care"),
      onDeposed: (term) => this.#endLead({ kind: "exit", code: exitCodeOf({ kind: "deposed", term }, log) }),
      url: () => this.#url,
    });
    this.#succession = successionOf(store, clock, this.#config.name);
  }

  /** Begins to stop, as told by a signal. */
  stop(): void {
    this.#stopping.abort();
    this.#endLead({ kind: "exit", code: EXIT.done });
  }

  /** Runs until told to stop, deposed, or at fault; resolves with the exit code. */
  async run(): Promise<number> {
    const { log, shutdown } = this.#options;
    const claim = await claimName(placeOf(this.#config), this.#config.name);
    if (!claim.ok) {
      log.fatal({ reason: claim.error }, "two managers of one name");
      return EXIT.configuration;
    }
    shutdown.add("claim", claim.value);
    const { host, port } = this.#config.api;
    const address = await this.#front.listen(host, port);
    this.#url = this.#config.api.url ?? `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`;
    shutdown.add("API", () => this.#front.close());
    log.info({ addresses: [address] }, "the API listens");
    if (this.#link !== undefined) {
      this.#link.start();
      shutdown.add("link", () => this.#link?.stop());
    }
    shutdown.add("leadership", () => this.#close());
    return this.#live();
  }

  async #live(): Promise<number> {
    const { clock, log } = this.#options;
    for (let notBeforeMs = 0; ; notBeforeMs = clock.nowMs() + HAND_OVER_GRACE_MS) {
      this.#standby = this.#newStandby(notBeforeMs);
      const opened = await this.#standby.lead();
      this.#standby = undefined;
      if (!this.#fault.ok) return this.#fault.error;
      if (!opened.ok) {
        if (this.#stopping.signal.aborted) return EXIT.done;
        log.fatal({ reason: opened.error.message }, "the store cannot be opened");
        return NEEDS_ADMIN.has(opened.error.kind) ? EXIT.configuration : EXIT.failed;
      }
      const end = await this.#lead(opened.value);
      if (end.kind === "exit") return end.code;
    }
  }

  /** Leads until something ends it. */
  async #lead(store: Store): Promise<LeadEnd> {
    const { log } = this.#options;
    const { name, store: place } = this.#config;
    this.#pulse = { role: "leader", term: store.term };
    log.info({ term: store.term }, "leading");
    const ended = new Promise<EndCause>((resolve) => {
      this.#endLead = resolve;
    });
    if (this.#stopping.signal.aborted) this.#endLead({ kind: "exit", code: EXIT.done });
    const identity = identityOf(process.pid);
    if (identity !== undefined && place.kind === "level")
      writeLeaderNote(place.path, { manager: name, ...identity, term: store.term, url: this.#url });
    const manager = await createClusterManager({
      ...this.#leaderOptions(store),
      bus: componentLink(this.#options, cloudAddress(this.#config.site), this.#options.settings.secret),
      colleagues: this.#colleagues(store.term),
    });
    this.#leading = { manager, store };
    await manager.api.ready();
    const started = manager.start();
    this.#front.serve((request, reply) => manager.api.routing(request, reply));
    await started;
    await this.#succession.rest();
    const end = await ended;
    this.#endLead = () => {};
    if (end.kind !== "step-down") {
      const [successor] = this.#link?.standbys ?? [];
      if (end.code === EXIT.done && successor !== undefined) await this.#handOver(successor);
      return end;
    }
    await this.#handOver(end.successor);
    return { kind: "handed-over" };
  }

  /** Planned: nothing more is taken, what was taken is stored, the store is closed, and the successor hears of it. */
  async #handOver(successor: string): Promise<void> {
    const { log } = this.#options;
    const leading = this.#leading;
    if (leading === undefined) return;
    this.#leading = undefined;
    this.#front.serve(standbyDoor(() => this.#hint()));
    await leading.manager.standDown();
    await leading.store.close();
    const { term } = leading.store;
    this.#pulse = { role: "standby", term };
    const heard = (await this.#link?.handOver(successor, term, HAND_OVER_HEARD_MS)) === true;
    log.info({ term, successor, heard }, "the lead is handed over");
    await leading.manager.stop();
  }

  /** Closes what a leadership that ended left open. */
  async #close(): Promise<void> {
    await this.#succession.rest();
    const leading = this.#leading;
    this.#leading = undefined;
    if (leading === undefined) return;
    this.#front.serve(standbyDoor(() => this.#hint()));
    await leading.manager.stop();
    await leading.store.close();
  }

  #newStandby(notBeforeMs: number): Standby {
    const { clock, log } = this.#options;
    const { name, leadership } = this.#config;
    const { beatMs, ...policy } = leadership;
    return new Standby({
      clock,
      log,
      manager: name,
      policy: { everyMs: beatMs, ...policy },
      link: this.#link,
      succession: this.#succession,
      notBeforeMs,
      onWaiting: () => this.#warmUp(),
      signal: this.#stopping.signal,
    });
  }

  /** Once: the first one who waits has the time for it. */
  #warmUp(): void {
    if (this.#warm) return;
    this.#warm = true;
    const { clock, rng, log } = this.#options;
    const makeManager: WarmUpOptions["makeManager"] = (store, parts) => {
      // The folder of the images is the leader's: a rehearsal keeps away from it.
      const { images: _folder, ...options } = this.#leaderOptions(store);
      return createClusterManager({ ...options, ...parts });
    };
    warmUp({ clock, rng, domain: this.#config.site, makeManager }).catch((error: unknown) =>
      log.warn({ error: String(error) }, "the rehearsal failed"),
    );
  }

  #makeLink(): ManagerLink | undefined {
    const { settings, clock, log } = this.#options;
    if (settings.managerSecret === undefined) return undefined;
    const { site, name, leadership } = this.#config;
    const bus = componentLink(this.#options, managerAddress(name, site), settings.managerSecret);
    const lag = new LoopLag(clock);
    const pulse = (): Pulse => ({ ...this.#pulse, lagMs: lag.worstMs() });
    const standbyForMs = leadership.beatMs * STANDBY_BEATS;
    const link = new ManagerLink({ bus, clock, domain: site, manager: name, pulse, standbyForMs });
    link.onHandOver(() => this.#standby?.invite());
    link.onStandbys(() => this.#onStandbys());
    let toldReason = "";
    bus.onStatus((status) => {
      if (status.kind === "offline" && status.reason !== toldReason)
        log.warn({ address: managerAddress(name, site), reason: status.reason }, "the manager's own XMPP link is down");
      if (status.kind === "offline") toldReason = status.reason;
      if (status.kind === "online") toldReason = "";
      if (status.kind !== "refused") return;
      log.error({ address: managerAddress(name, site), reason: status.reason, text: status.text }, MANAGER_LINK_REMEDY);
      if (this.#pulse.role === "leader") return;
      this.#fault = err(EXIT.configuration);
      this.#stopping.abort();
    });
    return link;
  }

  #leaderOptions(store: Store): Omit<ClusterManagerOptions, "bus"> {
    const { log } = this.#options;
    const onEnd = (end: ManagerEnd): void => this.#endLead({ kind: "exit", code: exitCodeOf(end, log) });
    return leaderOptions({ ...this.#options, url: () => this.#url, onEnd }, store);
  }

  #colleagues(term: number): Colleagues {
    return {
      standbys: () => this.#link?.standbys ?? [],
      onStandbys: (listener) => {
        this.#onStandbys = listener;
      },
      stepDown: () => this.#stepDown(term),
    };
  }

  #stepDown(term: number): Result<StepDownView, Refusal> {
    const [successor] = this.#link?.standbys ?? [];
    if (this.#link === undefined || successor === undefined) return err(NO_STANDBY);
    if (!this.#link.online) return err(NO_LINK);
    // The answer leaves first: whoever asked is to hear of it from us.
    this.#options.clock.setTimer(0, () => this.#endLead({ kind: "step-down", successor }));
    return ok({ leader: this.#config.name, term, successor });
  }

  #hint(): LeaderHint {
    const { manager, url } = this.#succession.leader() ?? {};
    return manager === undefined || url === undefined || manager === this.#config.name ? undefined : { manager, url };
  }
}

/** The store as a name among all on this machine. */
function placeOf({ site, store }: Config): string {
  if (store.kind === "level") return resolve(store.path);
  return `etcd ${[...store.endpoints].sort().join(",")} ${store.prefix ?? site}`;
}

const MANAGER_LINK_REMEDY =
  "the XMPP server does not take this manager's own component: check name, xmpp.managerSecretFile, xmpp.tls if any, " +
  "and the server's configuration; on conflict another manager of the same name runs elsewhere";

const NO_LINK = refusal(
  "unavailable",
  "no-link",
  "the link to the XMPP server is away, and the successor cannot be told; ask again in a moment",
  { retryAfterMs: 1_000 },
);
