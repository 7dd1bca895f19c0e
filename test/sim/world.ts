/** A whole federation of a run: its sites, the network between them, its users, and those who look on. */
import { type Rng, seededRng } from "@muster/base";
import type { Checker, MakeChecker } from "./checker.ts";
import { DealAdmin } from "./deal-admin.ts";
import type { Domain } from "./domain.ts";
import { FaultDriver } from "./fault-driver.ts";
import { countFault, type Figures, noFigures } from "./figures.ts";
import { Health } from "./health.ts";
import type { Moment } from "./moment.ts";
import { MoveAdmin } from "./move-admin.ts";
import { Network } from "./network.ts";
import type { Ports } from "./ports.ts";
import { domainOf, Site } from "./site.ts";
import type { Swarm } from "./swarm.ts";
import { Timeline } from "./timeline.ts";
import { Trace } from "./trace.ts";
import { Users } from "./users.ts";

const PULSE_MS = 1_000;

export class World {
  readonly swarm: Swarm;
  readonly ports: Ports;
  readonly timeline = new Timeline();
  readonly trace = new Trace();
  readonly figures: Figures = noFigures();
  readonly rng: Rng;
  readonly network: Network;
  readonly sites: Site[];
  readonly users: Users;
  readonly faults: FaultDriver;
  readonly health: Health;
  /** Lists of VMs that came from a host. */
  readonly lists = new WeakSet<object>();
  /** Faults have stopped: everything is to come to rest. */
  healed = false;
  #ids = 0;
  readonly #byDomain: Map<string, Site>;
  readonly #checkers: readonly Checker[];
  readonly #crashRng: Rng;

  constructor(swarm: Swarm, ports: Ports, checkers: readonly MakeChecker[]) {
    this.swarm = swarm;
    this.ports = ports;
    this.rng = seededRng(swarm.seed + 1);
    this.#crashRng = seededRng(swarm.seed + 2);
    this.network = new Network(this.timeline, seededRng(swarm.seed + 3), swarm, this.figures);
    const domains = Array.from({ length: swarm.sites }, (_, index) => domainOf(index));
    this.sites = domains.map(
      (domain, index) =>
        new Site(
          this,
          index,
          domains.filter((other) => other !== domain),
        ),
    );
    this.#byDomain = new Map(this.sites.map((site) => [site.domain, site]));
    this.users = new Users(this, seededRng(swarm.seed + 4));
    this.faults = new FaultDriver(this, seededRng(swarm.seed + 5));
    this.health = new Health(this);
    this.#checkers = checkers.map((make) => make(this));
  }

  siteOf(domain: string): Site | undefined {
    return this.#byDomain.get(domain);
  }

  domainsAt(address: string): Map<string, Domain> | undefined {
    for (const { hosts } of this.sites)
      for (const host of hosts.values()) if (host.moveAddress === address && host.powered) return host.machine.domains;
    return undefined;
  }

  newId(): string {
    this.#ids += 1;
    return `01900000-0000-7000-8000-${this.#ids.toString(16).padStart(12, "0")}`;
  }

  note(who: string, what: () => unknown): void {
    this.trace.note(this.timeline.steps, this.timeline.nowMs, who, what);
  }

  tell(what: (checker: Checker) => void): void {
    for (const checker of this.#checkers) what(checker);
  }

  /** Whether a process ends at this point, where something was or is to be written or sent: by chance, or aimed at. */
  endsAt(moment: Moment): boolean {
    if (this.healed) return false;
    const aimed = this.ports.strikes?.(this, moment) === "ends";
    const { crashAtWrite } = this.swarm;
    const drawn = crashAtWrite > 0 && this.#crashRng.next() < crashAtWrite;
    if (!aimed && !drawn) return false;
    this.figures.crashesAtWrites += 1;
    countFault(this.figures, moment.where);
    return true;
  }

  run(): void {
    const { activeMs, quietMs } = this.swarm;
    for (const site of this.sites) site.begin();
    this.users.begin();
    this.faults.begin();
    if (this.swarm.moves) new MoveAdmin(this, seededRng(this.swarm.seed + 6)).begin();
    if (this.swarm.deals) new DealAdmin(this, seededRng(this.swarm.seed + 7)).begin();
    this.#pulse();
    this.timeline.runUntil(activeMs);
    this.healed = true;
    this.network.heal();
    this.faults.heal();
    this.timeline.runUntil(activeMs + quietMs);
    this.tell((checker) => checker.atEnd?.());
    Object.assign(this.figures, { runs: 1, steps: this.timeline.steps, virtualMs: this.timeline.nowMs });
  }

  #pulse(): void {
    this.health.look();
    this.tell((checker) => checker.onPulse?.());
    this.timeline.after(PULSE_MS, () => this.#pulse());
  }
}
