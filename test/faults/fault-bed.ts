import { join } from "node:path";
import { seededRng, systemClock } from "@muster/base";
import type { SiteClient } from "@muster/client";
import { stateFolder } from "@muster/federation";
import type { VmCreateInput, VmView } from "@muster/protocol";
import { until } from "../system/until.ts";
import type { SureRun } from "../torture/history.ts";
import { HostObserver } from "../torture/host-observer.ts";
import { Rig, type RigSite } from "../torture/rig.ts";

export const SPEC = { image: "debian-12", vcpus: 1, memoryMiB: 64, diskGiB: 1 };

/** A federation of two sites with a relay in every way, and an observer at every host. */
export class FaultBed {
  readonly rig: Rig;
  readonly alpha: RigSite;
  readonly beta: RigSite;
  /** Of alpha, patient as a person is. */
  readonly client: SiteClient;
  readonly #observers: readonly HostObserver[];
  readonly #said: string[];

  private constructor(rig: Rig, alpha: RigSite, beta: RigSite, said: string[]) {
    this.rig = rig;
    this.alpha = alpha;
    this.beta = beta;
    this.#said = said;
    this.client = rig.client(alpha, 20_000);
    this.#observers = rig.sites.flatMap(({ run }) =>
      run.plan.hosts.map(({ name }) => {
        const { hypervisor } = stateFolder(rig.state).site(run.plan.name).host(name);
        const socketPath = join(hypervisor, "run", "libvirt-sock");
        const host = { site: run.plan.name, host: name, socketPath, vcpus: 18, memoryMiB: 8_192 };
        return new HostObserver(host);
      }),
    );
    for (const observer of this.#observers) observer.start();
  }

  static async start(loopback: number): Promise<FaultBed> {
    const said: string[] = [];
    const rig = await Rig.start({
      clock: systemClock,
      rng: seededRng(loopback),
      loopback,
      hostsPerSite: 2,
      hostVcpus: 20,
      store: "level",
      say: (line) => void said.push(line),
      signal: new AbortController().signal,
    });
    const [alpha, beta] = rig.sites;
    if (alpha === undefined || beta === undefined) throw new Error("a federation of two sites has two");
    return new FaultBed(rig, alpha, beta, said);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#observers.map((observer) => observer.stop()));
    await this.rig.stop();
  }

  /** What the supervisor said last, for failures. */
  get said(): string {
    return this.#said.slice(-12).join("\n");
  }

  /** Every run of the VM that was seen, on whichever host of whichever site. */
  runsOf(vm: string): readonly SureRun[] {
    return this.#observers.flatMap(({ runs }) => runs).filter((run) => run.vm === vm);
  }

  /** Asks alpha for VMs; the ids in their order. */
  async create(name: string, more: Partial<VmCreateInput> = {}): Promise<readonly string[]> {
    const answer = await this.client.createVms({ name, spec: SPEC, ...more }, `request-${name}`);
    if (!answer.ok) throw new Error(`${name}: ${answer.error.message}`);
    return answer.value.vms.map(({ id }) => id);
  }

  async vm(id: string): Promise<VmView> {
    const answer = await this.client.vm(id);
    if (!answer.ok) throw new Error(answer.error.message);
    return answer.value;
  }

  /** Waits until alpha says that all of them run. */
  async untilRunning(vms: readonly string[], withinMs = 20_000): Promise<void> {
    let seen = "";
    await until(
      () => `all run: ${seen}\n${this.said}`,
      async () => {
        const views = await Promise.all(vms.map((id) => this.vm(id)));
        seen = views.map(({ id, phase, reason }) => `${id} ${phase} ${reason ?? ""}`).join("\n");
        return views.every(({ phase }) => phase === "running");
      },
      withinMs,
    );
    await until("each was seen to run", () => vms.every((id) => this.runsOf(id).length > 0), 5_000);
  }

  /** Waits until alpha hears both its hosts. */
  async untilHostsAlive(withinMs = 20_000): Promise<void> {
    await until(
      () => `both hosts are heard\n${this.said}`,
      async () => {
        const hosts = await this.client.hosts();
        return (
          hosts.ok && hosts.value.every(({ liveness, condition }) => liveness === "alive" && condition !== "degraded")
        );
      },
      withinMs,
    );
  }
}
