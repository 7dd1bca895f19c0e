import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import { apiUrls, DEFAULT_WISH, Federation, planFederation, type ServerKind, stateFolder } from "@muster/federation";
import type { VmView } from "@muster/protocol";
import { PROSODY_PORTS } from "@muster/xmpp-server";
import { until } from "../system/until.ts";
import { TcpRelay } from "../torture/tcp-relay.ts";
import { XmppClient } from "../watch/xmpp-client.ts";

const SPEC = { image: "debian-12", vcpus: 1, memoryMiB: 64, diskGiB: 1 };
export const SITES = ["alpha", "beta"] as const;
export type SiteName = (typeof SITES)[number];

export type TwoSitesOptions = {
  /** Site `n` lies at `127.45.<loopback + n>.1`, the relays before its ports at `.2` and `.3`. */
  readonly loopback: number;
  readonly serverOf?: Readonly<Partial<Record<SiteName, ServerKind>>>;
  /** A site whose server takes no connections of other servers and opens none. */
  readonly outboundOnly?: SiteName;
  /** Whether they are peers from the start; so if not given. */
  readonly peering?: "configured" | "none";
};

/** Two sites as `muster up` runs them, each on the XMPP server that is asked for, with a relay in the way of its peers. */
export class TwoSites {
  readonly state: string;
  readonly relays: Readonly<Record<SiteName, TcpRelay>>;
  /** In the way of everybody who logs in at alpha as a client but its people: its hosts, and a peer that does. */
  readonly logins: TcpRelay;
  readonly #federation: Federation;

  private constructor(
    state: string,
    relays: Readonly<Record<SiteName, TcpRelay>>,
    logins: TcpRelay,
    federation: Federation,
  ) {
    this.state = state;
    this.relays = relays;
    this.logins = logins;
    this.#federation = federation;
  }

  static async start({
    loopback,
    serverOf = {},
    outboundOnly,
    peering = "configured",
  }: TwoSitesOptions): Promise<TwoSites> {
    const state = mkdtempSync("/tmp/mi");
    chmodSync(state, 0o711);
    const plan = planFederation({ ...DEFAULT_WISH, hostsPerSite: 1, hypervisor: "simulated", serverOf, peering });
    if (!plan.ok) throw new Error(plan.error);
    const at = (site: number, fourth: number): string => `127.45.${loopback + site}.${fourth}`;
    const sites = plan.value.sites.map((site, index) => ({
      ...site,
      address: at(index, 1),
      via: { peers: at(index, 2), ...(index === 0 ? { hosts: at(index, 3) } : {}) },
      ...(site.name === outboundOnly ? { outboundOnly: true } : {}),
    }));
    const relay = (site: number, fourth: number, port: number) =>
      TcpRelay.listen({ address: at(site, fourth), port }, { address: at(site, 1), port }, systemClock);
    const { server, clientTls } = PROSODY_PORTS;
    const relays = { alpha: await relay(0, 2, server), beta: await relay(1, 2, server) };
    const logins = await relay(0, 3, clientTls);
    const said: string[] = [];
    const started = await Federation.start({
      plan: { ...plan.value, sites },
      stateRoot: state,
      fresh: true,
      clock: systemClock,
      rng: systemRng,
      progress: (line) => void said.push(line),
      onFatal: (death) => void said.push(`${death.name} is given up: ${death.logTail}`),
      signal: new AbortController().signal,
    });
    if (started.ok) return new TwoSites(state, relays, logins, started.value);
    await Promise.all([relays.alpha, relays.beta, logins].map((each) => each.close()));
    throw new Error(`${started.error}\n${said.join("\n")}`);
  }

  client(name: SiteName): SiteClient {
    const { plan } = this.#run(name);
    return createSiteClient({
      endpoint: { urls: apiUrls(plan), token: this.secret(name, "admin-token") },
      clock: systemClock,
      rng: systemRng,
      timeoutMs: 5_000,
      patienceMs: 15_000,
    });
  }

  /** Any XMPP client, logged in as the site's admin. */
  watcher(name: SiteName): Promise<XmppClient> {
    return this.logIn(name, "admin", this.secret(name, "admin-password"));
  }

  logIn(site: SiteName, name: string, password: string): Promise<XmppClient> {
    const { address, domain } = this.#run(site).plan;
    const ca = readFileSync(join(stateFolder(this.state).authority, "ca.crt"), "utf8");
    return XmppClient.logIn({ address, domain, name, password, ca });
  }

  secret(site: SiteName, name: string): string {
    return readFileSync(join(stateFolder(this.state).site(site).secrets, name), "utf8").trim();
  }

  /** Asks one site for a VM that may only run at its peer. */
  async burst(from: SiteName, name: string): Promise<VmView> {
    const asked = await this.client(from).createVms({ name, spec: SPEC, burst: "only" }, `request-${name}`);
    if (!asked.ok) throw new Error(asked.error.message);
    const [vm] = asked.value.vms;
    if (vm === undefined) throw new Error("no VM was made");
    return vm;
  }

  async vm(site: SiteName, id: string): Promise<VmView> {
    const vm = await this.client(site).vm(id);
    if (!vm.ok) throw new Error(vm.error.message);
    return vm.value;
  }

  /** Waits until the borrower says that the VM runs at the peer. */
  async untilRuns(borrower: SiteName, id: string, withinMs = 30_000): Promise<VmView> {
    let seen: VmView | undefined;
    await until(
      () => `${id} runs; it is ${seen?.phase} ${seen?.reason ?? ""}`,
      async () => {
        seen = await this.vm(borrower, id);
        return seen.phase === "running";
      },
      withinMs,
    );
    if (seen === undefined) throw new Error("never looked");
    return seen;
  }

  /** Kills the manager that leads, and waits until another does and has heard its hosts; both their names. */
  async takeOver(name: SiteName): Promise<{ readonly before: string; readonly after: string }> {
    const site = await this.client(name).site();
    if (!site.ok) throw new Error(site.error.message);
    const { leader: before, term } = site.value;
    const pid = this.#run(name).managers.get(before)?.pid;
    if (pid === undefined) throw new Error(`${before} of ${name} does not run`);
    process.kill(pid, "SIGKILL");
    let after = "";
    await until(`another leads ${name}`, async () => {
      const now = await this.client(name).site();
      after = now.ok ? now.value.leader : "";
      return now.ok && now.value.term > term && now.value.reconciled;
    });
    return { before, after };
  }

  async stop(): Promise<void> {
    await this.#federation.stop();
    await Promise.all([this.relays.alpha, this.relays.beta, this.logins].map((relay) => relay.close()));
    rmSync(this.state, { recursive: true, force: true });
  }

  #run(name: SiteName) {
    const run = this.#federation.site(name);
    if (run === undefined) throw new Error(`no site ${name}`);
    return run;
  }
}
