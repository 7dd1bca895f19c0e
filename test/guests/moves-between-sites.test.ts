/** A real guest goes to a peer and comes home again, alive, at its home address, with a session that goes on counting. */
import { DEFAULT_WISH, planFederation } from "@muster/federation";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CountingSession } from "./counting-session.ts";
import { GuestBed, networkTraces, told } from "./guest-bed.ts";
import { variantRuns } from "./variant.ts";

const LOOPBACK = 147;
const HOME = "10.253.147";
const SMALL = ["--image", "small", "--memory", "128MiB", "--disk", "1GiB"];
const START_MS = 240_000;
const STEP_MS = 150_000;

const runs = await variantRuns("namespaces");

type Vm = { readonly phase: string; readonly address: string; readonly place: { readonly kind: string } };

describe.runIf(runs)("a real guest that moves between sites", () => {
  const plan = planFederation({ ...DEFAULT_WISH, hypervisor: "qemu", sites: 2, hostsPerSite: 1, loopback: LOOPBACK });
  if (!plan.ok) throw new Error(plan.error);
  let bed: GuestBed;
  let session: CountingSession | undefined;
  let address = "";

  beforeAll(async () => {
    bed = GuestBed.begin(["--sites", "2", "--hosts", "1", "--managers", "1", "--loopback", String(LOOPBACK)]);
    await bed.run.saying(/Ctrl-C stops everything/, START_MS);
  }, START_MS + 10_000);
  afterAll(() => {
    session?.end();
    return bed.clear();
  }, 60_000);

  const show = async (): Promise<Vm> => JSON.parse(await bed.muster("--format", "json", "vm", "show", "web"));
  const domains = (): readonly number[] => ["alpha", "beta"].map((site) => bed.domains(site, "host1").length);

  it("P1: goes to the peer, keeps its address, and leaves nothing at home", { timeout: STEP_MS }, async () => {
    told(bed);
    await bed.muster("network", "delete", "lan", "--yes");
    const lan = ["lan", "--attachment", "bridge", "--cidr", `${HOME}.0/24`, "--gateway", `${HOME}.1`];
    await bed.muster("network", "create", ...lan, "--burstable", "--default");
    const wish = ["--ssh-key", bed.publicKey, "--burst", "allow", "--wait", "90s"];
    await bed.muster("vm", "create", "--name", "web", ...SMALL, ...wish);
    ({ address } = await show());
    await bed.loggedIn(address);
    session = bed.counting(address);
    await session.goesOn();
    await bed.muster("vm", "migrate", "web", "--to-peer", "beta.test", "--wait", "90s");
    expect(await show()).toMatchObject({ phase: "running", address, place: { kind: "peer" } });
    expect(domains()).toEqual([0, 1]);
    await session.goesOn();
    expect(await bed.muster("--site", "beta", "lease", "list")).toContain("leased");
  });

  it("P1: comes home again, and its lease is over", { timeout: STEP_MS }, async () => {
    told(bed);
    await bed.muster("vm", "migrate", "web", "--home", "--wait", "90s");
    expect(await show()).toMatchObject({ phase: "running", address, place: { kind: "host" } });
    expect(domains()).toEqual([1, 0]);
    await session?.goesOn();
    const numbers = session?.numbers ?? [];
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    session?.end();
    expect(await bed.muster("lease", "list")).not.toContain("leased");
    await bed.muster("vm", "delete", "web", "--yes", "--wait", "90s");
    const { tag } = bed.machines(plan.value);
    expect((await bed.run.interrupt()).code).toBe(0);
    expect(networkTraces(tag)).toEqual([]);
  });
});
