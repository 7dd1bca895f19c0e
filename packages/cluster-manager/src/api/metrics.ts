import type { SiteView } from "@muster/protocol";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** What is read from the manager when somebody asks for metrics. */
export type MetricSources = {
  /** `undefined` while it cannot be shown: the rest is told all the same. */
  site(): Promise<SiteView | undefined>;
  queuedEvents(): number;
  waitingCallers(): number;
  followers(): number;
  linkOnline(): boolean;
};

/** Metrics of one manager (Prometheus text format), prefix `muster_`, base units. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #commitSeconds: Histogram;
  readonly #commitChanges: Counter;
  readonly #httpSeconds: Histogram<"method" | "route" | "status">;
  readonly #stanzas: Counter<"from" | "verdict">;
  readonly #storeFailures: Counter;
  readonly #showSite: (site: SiteView) => void;
  readonly #sources: MetricSources;

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry, prefix: "muster_" });
    this.#commitSeconds = new Histogram({
      name: "muster_store_commit_seconds",
      help: "Duration of a commit, synchronous on disk.",
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    });
    this.#commitChanges = new Counter({
      name: "muster_store_changes_total",
      help: "Records put or deleted.",
      registers,
    });
    this.#storeFailures = new Counter({
      name: "muster_store_failures_total",
      help: "Commits and reads that failed.",
      registers,
    });
    this.#httpSeconds = new Histogram({
      name: "muster_http_request_seconds",
      help: "From request to answer, by route.",
      labelNames: ["method", "route", "status"],
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
      registers,
    });
    this.#stanzas = new Counter({
      name: "muster_stanzas_total",
      help: "Stanzas that arrived, by kind of sender and what became of them.",
      labelNames: ["from", "verdict"],
      registers,
    });
    addGauges(sources, registers);
    this.#showSite = siteGauges(registers);
    this.#sources = sources;
  }

  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;

  async text(): Promise<string> {
    const site = await this.#sources.site();
    if (site !== undefined) this.#showSite(site);
    return this.#registry.metrics();
  }

  committed(commit: { readonly changes: number; readonly tookMs: number }): void {
    this.#commitSeconds.observe(commit.tookMs / 1_000);
    this.#commitChanges.inc(commit.changes);
  }

  storeFailed(): void {
    this.#storeFailures.inc();
  }

  answered(request: {
    readonly method: string;
    readonly route: string;
    readonly status: number;
    readonly tookMs: number;
  }): void {
    const { method, route, status, tookMs } = request;
    this.#httpSeconds.observe({ method, route, status: String(status) }, tookMs / 1_000);
  }

  stanza(from: "host" | "peer" | "user" | "stranger", verdict: "taken" | "refused" | "ignored"): void {
    this.#stanzas.inc({ from, verdict });
  }
}

function addGauges(sources: MetricSources, registers: Registry[]): void {
  const plain = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };
  plain("muster_core_queue_events", "Events waiting for the core.", () => sources.queuedEvents());
  plain("muster_core_waiting_callers", "Callers waiting for an answer of the core.", () => sources.waitingCallers());
  plain("muster_event_followers", "Clients that follow events.", () => sources.followers());
  plain("muster_xmpp_online", "1 while the XMPP link is up.", () => (sources.linkOnline() ? 1 : 0));
}

/** Gauges of the site, all set from one view before they are written. */
function siteGauges(registers: Registry[]): (site: SiteView) => void {
  const term = new Gauge({ name: "muster_term", help: "Term of this leadership.", registers });
  const queue = new Gauge({ name: "muster_queue_vms", help: "VMs that wait for room.", registers });
  const hosts = new Gauge({ name: "muster_hosts", help: "Hosts by liveness.", labelNames: ["liveness"], registers });
  const free = new Gauge({ name: "muster_free_vcpus", help: "vCPUs not promised to anybody.", registers });
  const memory = new Gauge({ name: "muster_free_memory_bytes", help: "Memory not promised to anybody.", registers });
  const vms = new Gauge({ name: "muster_vms", help: "VMs by phase.", labelNames: ["phase"], registers });
  return (site) => {
    term.set(site.term);
    queue.set(site.queued);
    free.set(site.free.vcpus);
    memory.set(site.free.memoryMiB * 1024 * 1024);
    hosts.reset();
    for (const [liveness, count] of Object.entries(site.hosts)) hosts.set({ liveness }, count);
    vms.reset();
    for (const [phase, count] of Object.entries(site.vms)) vms.set({ phase }, count);
  };
}
