/** Three real sites: alpha, the victim; gamma, an honest peer of it; and beta, whose manager is held still while a partner speaks for it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { siteKeyFromPem } from "@muster/broker";
import type { PeerView, Refusal, VmView } from "@muster/protocol";
import { FederationRun, muster, newStateFolder } from "../system/federation-run.ts";
import { processOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import { Partner, type PartnerSite } from "./partner.ts";

export const LOOPBACK = 247;
/** How long a peer of alpha has to run what it leased. */
export const LEASE_START_MS = 4_000;

const SHAPE = ["--sites", "3", "--hosts", "1", "--managers", "1", "--hypervisor", "simulated", "--unpeered"];

export class HostileSite {
  readonly run: FederationRun;
  readonly partner: Partner;
  readonly site: PartnerSite;
  readonly #held: number;

  private constructor(run: FederationRun, partner: Partner, held: number) {
    this.run = run;
    this.partner = partner;
    this.site = partner.site;
    this.#held = held;
  }

  static async begin(): Promise<HostileSite> {
    const run = await FederationRun.up(newStateFolder(), [...SHAPE, "--loopback", String(LOOPBACK)], 90_000);
    try {
      return await HostileSite.#prepare(run);
    } catch (fault) {
      await run.clear();
      throw fault;
    }
  }

  static async #prepare(run: FederationRun): Promise<HostileSite> {
    const config = join(run.state, "alpha", "manager", "cluster-a.yaml");
    const hurried = readFileSync(config, "utf8").replace(/^timing:\n/m, `$&  leaseStartMs: ${LEASE_START_MS}\n`);
    writeFileSync(config, hurried);
    process.kill(managerOf(run, "alpha").pid, "SIGKILL");
    const leadsAgain = async (): Promise<boolean> => {
      const site = await run.client().site();
      return site.ok && site.value.term === 2 && site.value.reconciled;
    };
    await until("alpha leads again", leadsAgain, 60_000);
    for (const name of ["beta", "gamma"]) await peerWith(run, name);
    const { pid } = managerOf(run, "beta");
    process.kill(pid, "SIGSTOP");
    return new HostileSite(run, await Partner.link(partnerSite(run), "alpha.test"), pid);
  }

  async end(): Promise<void> {
    this.partner.close();
    process.kill(this.#held, "SIGCONT");
    await this.run.clear();
  }

  at(site: string, ...args: string[]) {
    return muster(["--state", this.run.state, "--site", site, ...args]);
  }

  async peer(domain = "beta.test"): Promise<PeerView> {
    return expectOk(await this.run.client().peer(domain));
  }

  async vm(name: string, site = "alpha"): Promise<VmView> {
    return expectOk(await this.run.client(site).vm(name));
  }

  async burst(name: string, site = "alpha"): Promise<VmView> {
    const spec = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5 };
    const { vms } = expectOk(await this.run.client(site).createVms({ name, spec, burst: "only" }, name));
    const [vm] = vms;
    if (vm === undefined) throw new Error("no VM was made");
    return vm;
  }

  /** What alpha's manager wrote to its log. */
  log(): string {
    return readFileSync(join(this.run.state, "logs", "alpha-manager-a.log"), "utf8");
  }

  async counted(offence: string): Promise<number> {
    return (await this.peer()).conduct?.offences[offence] ?? 0;
  }

  /** Waits until alpha has counted more of it than `before`. */
  async untilCounted(offence: string, before: number): Promise<void> {
    await until(`${offence} is counted`, async () => (await this.counted(offence)) > before);
  }
}

function managerOf(run: FederationRun, site: string) {
  return processOf(run.state, new RegExp(`cluster-manager/src/main\\.ts --config \\S+/${site}/`));
}

function partnerSite(run: FederationRun): PartnerSite {
  const secret = (name: string): string => readFileSync(join(run.state, "beta", "secrets", name), "utf8");
  const key = siteKeyFromPem(secret("site-key.pem"));
  if (!key.ok) throw new Error(key.error);
  const address = `127.0.${LOOPBACK + 1}.1`;
  return { domain: "beta.test", address, secret: secret("cloud-secret").trim(), key: key.value };
}

async function peerWith(run: FederationRun, name: string): Promise<void> {
  const domain = `${name}.test`;
  const lend = { share: 1 };
  const { token } = expectOk(await run.client().invitePeer({ domain, lend }));
  expectOk(await run.client(name).acceptPeer({ token, lend }, false));
  await until(`${name} and alpha are peers`, async () => {
    const sides = [await run.client().peer(domain), await run.client(name).peer("alpha.test")];
    return sides.every((side) => side.ok && side.value.state === "active");
  });
}

export function expectOk<Value>(
  answer: { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly error: Refusal },
): Value {
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value;
}
