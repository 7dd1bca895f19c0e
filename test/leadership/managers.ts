import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { systemClock, systemRng } from "@muster/base";
import { DEFAULT_WISH, type EtcdRun, Federation, planFederation, type SiteRun } from "@muster/federation";
import type { SiteView } from "@muster/protocol";
import { expect } from "vitest";
import { runningDomains } from "../system/domains.ts";
import { until } from "../system/until.ts";

/** One site of two managers and two hosts with libvirt, run by this process. */
export class ManagedSite {
  readonly state: string;
  readonly site: SiteRun;
  readonly #federation: Federation;

  private constructor(state: string, federation: Federation, site: SiteRun) {
    this.state = state;
    this.#federation = federation;
    this.site = site;
  }

  static async start(loopback: number, store: "level" | "etcd" = "level"): Promise<ManagedSite> {
    const state = mkdtempSync("/tmp/ml");
    chmodSync(state, 0o711);
    const plan = planFederation({ ...DEFAULT_WISH, sites: 1, hostsPerSite: 2, hostVcpus: 64, loopback, store });
    if (!plan.ok) throw new Error(plan.error);
    const started = await Federation.start({
      plan: plan.value,
      stateRoot: state,
      fresh: true,
      clock: systemClock,
      rng: systemRng,
      progress: () => {},
      onFatal: ({ name, logTail }) => {
        throw new Error(`${name} cannot be kept running: ${logTail}`);
      },
      signal: new AbortController().signal,
    });
    if (!started.ok) throw new Error(started.error);
    const [site] = started.value.sites;
    if (site === undefined) throw new Error("the federation has no site");
    return new ManagedSite(state, started.value, site);
  }

  async stop(): Promise<void> {
    await this.#federation.stop();
    rmSync(this.state, { recursive: true, force: true });
  }

  /** Waits until one leads, the other waits, and all hosts are heard; answers who is who. */
  async settled(): Promise<{ readonly leader: string; readonly standby: string; readonly term: number }> {
    let seen: SiteView | undefined;
    await until(
      () => `a leader, a standby and two hosts: ${JSON.stringify(seen)}`,
      async () => {
        const answer = await this.site.client.site();
        seen = answer.ok ? answer.value : undefined;
        return seen?.managers.length === 2 && seen.reconciled && seen.hosts.alive === 2;
      },
    );
    const standby = seen?.managers.find(({ role }) => role === "standby")?.name ?? "";
    return { leader: seen?.leader ?? "", standby, term: seen?.term ?? 0 };
  }

  /** The federation's etcd, where it is the store. */
  get etcd(): EtcdRun {
    const { etcd } = this.#federation;
    if (etcd === undefined) throw new Error("the store is not etcd");
    return etcd;
  }

  pid(manager: string): number {
    const pid = this.site.managers.get(manager)?.pid;
    if (pid === undefined) throw new Error(`manager ${manager} does not run`);
    return pid;
  }

  /** Asks for `count` VMs, one request after the other, each sent twice at once under the same id. */
  async load(prefix: string, count: number): Promise<readonly string[]> {
    const spec = { image: "debian-12", vcpus: 1, memoryMiB: 128, diskGiB: 1 };
    const ids: string[] = [];
    for (let index = 0; index < count; index += 1) {
      const name = `${prefix}-${index}`;
      const ask = () => this.site.client.createVms({ name, project: prefix, spec }, `request-${name}`);
      const [one, other] = await Promise.all([ask(), ask()]);
      if (!one.ok || !other.ok) throw new Error(`${name}: ${JSON.stringify([one, other])}`);
      const [first, second] = [one.value.vms[0]?.id, other.value.vms[0]?.id];
      if (first === undefined || first !== second) throw new Error(`${name} was answered as ${first} and ${second}`);
      ids.push(first);
    }
    return ids;
  }

  /** Every VM of the project is there once, runs, and libvirt's own tool sees it on exactly one host. */
  async allRunOnce(project: string, ids: readonly string[]): Promise<void> {
    let seen = "";
    await until(
      () => `all of ${project} run once: ${seen}`,
      async () => {
        const vms = await this.site.client.vms({ project, final: "false" });
        if (!vms.ok) return false;
        seen = vms.value.map(({ name, phase, reason }) => `${name} ${phase} ${reason ?? ""}`).join("; ");
        return vms.value.length === ids.length && vms.value.every(({ phase }) => phase === "running");
      },
      40_000,
    );
    const vms = await this.site.client.vms({ project });
    expect(vms.ok && vms.value.map(({ id }) => id).sort()).toEqual([...ids].sort());
    const domains = await runningDomains(this.state, "alpha");
    expect(ids.map((id) => domains.get(id)?.length)).toEqual(ids.map(() => 1));
  }

  /** Requests go on while `fault` comes in between; all are answered, once, by whoever leads. */
  async through(project: string, fault: () => unknown): Promise<void> {
    const loading = this.load(project, 15);
    await pause(100);
    await fault();
    await this.allRunOnce(project, await loading);
  }
}
