import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { systemClock, systemRng } from "@muster/base";
import { DEFAULT_WISH, Federation, planFederation, type SiteRun } from "@muster/federation";
import type { SiteView } from "@muster/protocol";
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

  static async start(loopback: number): Promise<ManagedSite> {
    const state = mkdtempSync("/tmp/ml");
    chmodSync(state, 0o711);
    const plan = planFederation({ ...DEFAULT_WISH, sites: 1, hostsPerSite: 2, hostVcpus: 64, loopback });
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
}
