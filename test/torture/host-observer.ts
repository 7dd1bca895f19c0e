import { type Clock, systemClock } from "@muster/base";
import { type Domain, ErrorCode, isLibvirtError, Libvirt } from "node-libvirt";
import type { FinalDomain, Overcommitment, SureRun } from "./history.ts";

/** What every daemon of libvirt's test driver begins with; nobody's VM. */
const FOREIGN = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const POLL_MS = 150;
const CALL_TIMEOUT_MS = 2_000;

export type HostToObserve = {
  readonly site: string;
  readonly host: string;
  readonly socketPath: string;
  /** What it has for VMs of ours. */
  readonly vcpus: number;
  readonly memoryMiB: number;
};

type Size = { readonly vcpus: number; readonly memoryMiB: number; readonly attempt: number | undefined };

/**
 * Watches one host from outside, by a libvirt connection of its own: what surely ran when (see `SureRun`), and whether it
 * was given more than it has. Another life of the daemon, or another start of a domain, makes another run.
 */
export class HostObserver {
  readonly runs: SureRun[] = [];
  readonly overcommitted: Overcommitment[] = [];
  readonly #host: HostToObserve;
  readonly #clock: Clock;
  readonly #sizes = new Map<string, Size>();
  readonly #open = new Map<string, SureRun>();
  /** Grows with every lost connection: a libvirtd that starts again numbers its domains anew. */
  #life = 0;
  #overBefore = "";
  #stopped = false;
  #loop: Promise<void> = Promise.resolve();
  #libvirt: Libvirt | undefined;

  constructor(host: HostToObserve, clock: Clock = systemClock) {
    this.#host = host;
    this.#clock = clock;
  }

  /** Begins to watch, for as long as it is not stopped; a host that cannot be reached is tried again. */
  start(): void {
    this.#loop = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
    await this.#libvirt?.close(200);
  }

  /** Every domain of ours that runs now; rejects where the host cannot be asked. */
  async domains(): Promise<readonly FinalDomain[]> {
    const libvirt = await this.#connected();
    const active = await this.#active(libvirt);
    return active.map((domain) => ({ vm: domain.uuid, attempt: this.#sizes.get(this.#startOf(domain))?.attempt }));
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#look(await this.#connected());
      } catch {
        // Gone or hung: nothing is known of it until it answers again.
        this.#lost();
      }
      await new Promise<void>((resolve) => this.#clock.setTimer(POLL_MS, resolve));
    }
  }

  async #connected(): Promise<Libvirt> {
    if (this.#libvirt !== undefined) return this.#libvirt;
    const { socketPath } = this.#host;
    const libvirt = await Libvirt.open({ socketPath, uri: "test:///default", callTimeoutMs: CALL_TIMEOUT_MS });
    libvirt.on("disconnected", () => {
      if (this.#libvirt === libvirt) this.#lost();
    });
    // A VM that appears is looked at at once, so that a short life is seen as well.
    await libvirt.domains.onLifecycle(({ event }) => {
      if (event === "started") void this.#look(libvirt).catch(() => {});
    });
    this.#libvirt = libvirt;
    return libvirt;
  }

  #lost(): void {
    this.#life += 1;
    this.#open.clear();
    this.#overBefore = "";
    const libvirt = this.#libvirt;
    this.#libvirt = undefined;
    void libvirt?.close(0).catch(() => {});
  }

  async #look(libvirt: Libvirt): Promise<void> {
    const life = this.#life;
    const askedMs = this.#clock.nowMs();
    const active = await this.#active(libvirt);
    const heardMs = this.#clock.nowMs();
    if (life !== this.#life || libvirt !== this.#libvirt) return;
    const running = new Set(active.map((domain) => this.#startOf(domain)));
    for (const start of this.#open.keys()) if (!running.has(start)) this.#open.delete(start);
    for (const domain of active) this.#saw(domain, askedMs, heardMs);
    this.#weigh(active, heardMs);
  }

  #saw(domain: Domain, askedMs: number, heardMs: number): void {
    const start = this.#startOf(domain);
    const open = this.#open.get(start);
    if (open !== undefined) {
      open.untilMs = Math.max(open.untilMs, askedMs);
      return;
    }
    const { site, host } = this.#host;
    const attempt = this.#sizes.get(start)?.attempt;
    const run = { site, host, vm: domain.uuid, start, attempt, sinceMs: heardMs, untilMs: heardMs };
    this.#open.set(start, run);
    this.runs.push(run);
  }

  /** Twice in a row with the same domains: one look alone may mix two moments. */
  #weigh(active: readonly Domain[], atMs: number): void {
    let vcpus = 0;
    let memoryMiB = 0;
    for (const domain of active) {
      const size = this.#sizes.get(this.#startOf(domain));
      vcpus += size?.vcpus ?? 0;
      memoryMiB += size?.memoryMiB ?? 0;
    }
    const starts = active.map((domain) => this.#startOf(domain)).sort();
    const over = vcpus > this.#host.vcpus || memoryMiB > this.#host.memoryMiB ? starts.join(" ") : "";
    if (over !== "" && over === this.#overBefore) {
      const { site, host } = this.#host;
      this.overcommitted.push({ site, host, atMs, vcpus, memoryMiB, vms: active.map(({ uuid }) => uuid) });
    }
    this.#overBefore = over;
  }

  /** Running and paused domains but the driver's own, each with its size known. */
  async #active(libvirt: Libvirt): Promise<readonly Domain[]> {
    const listed = await libvirt.domains.list({ active: true }, { timeoutMs: CALL_TIMEOUT_MS });
    const found: Domain[] = [];
    for (const domain of listed) {
      if (domain.uuid === FOREIGN) continue;
      const start = this.#startOf(domain);
      if (!this.#sizes.has(start)) {
        const size = await sizeOf(libvirt, domain);
        if (size === undefined) continue;
        this.#sizes.set(start, size);
      }
      found.push(domain);
    }
    return found;
  }

  #startOf({ uuid, id }: Domain): string {
    return `${this.#life}/${uuid}/${id}`;
  }
}

/** What a domain takes, and under which attempt it was ordered; `undefined` where it has gone. */
async function sizeOf(libvirt: Libvirt, domain: Domain): Promise<Size | undefined> {
  try {
    const xml = await libvirt.domains.xml(domain, { timeoutMs: CALL_TIMEOUT_MS });
    const attempt = /\battempt=["'](\d+)["']/.exec(xml)?.[1];
    return {
      vcpus: Number(/<vcpu[^>]*>(\d+)</.exec(xml)?.[1] ?? 0),
      memoryMiB: Number(/<memory unit='KiB'>(\d+)</.exec(xml)?.[1] ?? 0) / 1024,
      attempt: attempt === undefined ? undefined : Number(attempt),
    };
  } catch (cause) {
    if (isLibvirtError(cause, ErrorCode.noDomain)) return undefined;
    throw cause;
  }
}
