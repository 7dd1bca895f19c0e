/** A real guest at a lender that sits on its home network: reached from home at its home address, through a real tunnel. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_WISH, planFederation } from "@muster/federation";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { processesOf, tracesOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import { GuestBed, interfacesIn, networkTraces, told } from "./guest-bed.ts";
import { variantRuns } from "./variant.ts";

const LOOPBACK = 143;
const HOME = "10.253.143";
const SMALL = ["--image", "small", "--memory", "128MiB", "--disk", "1GiB"];
const START_MS = 240_000;
const STEP_MS = 150_000;

/** Whether it runs; what waits for its parent to hear of its end does not. */
function isAlive(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "";
  } catch {
    return false;
  }
}

function portsOf(namespace: string): readonly { readonly ifname: string; readonly master?: string }[] {
  return JSON.parse(spawnSync("ip", ["-netns", namespace, "-json", "link", "show"], { encoding: "utf8" }).stdout);
}

const carries = spawnSync("wg", ["--version"]).status === 0;
if (!carries) process.stderr.write("real guests: networks between sites are not run: wireguard-tools is missing\n");
const runs = carries && (await variantRuns("namespaces"));

type Vm = { readonly phase: string; readonly address: string; readonly place: { readonly kind: string } };

describe.runIf(runs)("a real guest at a lender on its home network", () => {
  const plan = planFederation({ ...DEFAULT_WISH, hypervisor: "qemu", sites: 2, hostsPerSite: 1, loopback: LOOPBACK });
  if (!plan.ok) throw new Error(plan.error);
  let bed: GuestBed;

  beforeAll(async () => {
    bed = GuestBed.begin(["--sites", "2", "--hosts", "1", "--managers", "1", "--loopback", String(LOOPBACK)]);
    await bed.run.saying(/Ctrl-C stops everything/, START_MS);
  }, START_MS + 10_000);
  afterAll(() => bed.clear(), 60_000);

  const show = async (name: string): Promise<Vm> =>
    JSON.parse(await bed.muster("--format", "json", "vm", "show", name));

  /** Ends of tunnels that any host notes. */
  const noted = (): readonly string[] =>
    readdirSync(bed.state, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith("/tunnels.json"))
      .flatMap((path) => {
        const { tunnels }: { tunnels: { end: string; port: number; carrier?: { pid: number } }[] } = JSON.parse(
          readFileSync(join(bed.state, path), "utf8"),
        );
        return tunnels.map(({ end, port, carrier }) => `${end} ${port} ${carrier?.pid ?? "kernel"}`);
      });

  const tunnelLinks = (): readonly string[] =>
    [...(bed.machines(plan.value).sites.values() ?? [])]
      .flatMap(({ hosts }) => [...hosts.values()])
      .flatMap(({ namespace }) => interfacesIn(namespace))
      .filter((name) => /^m[gt][0-9a-f]{11}$/.test(name));

  it("runs at the lender under its home address, at which its user logs in from home", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    expect(await bed.muster("--site", "beta", "peer", "policy", "alpha.test")).toContain("tunnel");
    await bed.muster("network", "delete", "lan", "--yes");
    const lan = ["lan", "--attachment", "bridge", "--cidr", `${HOME}.0/24`, "--gateway", `${HOME}.1`];
    await bed.muster("network", "create", ...lan, "--burstable", "--default");
    const key = ["--ssh-key", bed.publicKey];
    await bed.muster("vm", "create", "--name", "away", ...SMALL, ...key, "--burst", "only");
    await until("it runs", async () => (await show("away")).phase === "running", 90_000);
    const away = await show("away");
    expect(away).toMatchObject({ place: { kind: "peer" } });
    expect(away.address.startsWith(`${HOME}.`)).toBe(true);
    await bed.loggedIn(away.address);
    const said = await bed.ssh(away.address, "hostname; cat /sys/class/net/eth0/mtu; ls /sys/class/net | wc -l");
    expect(said.stdout).toBe("away\n1370\n2\n");
    expect(bed.domains("alpha", "host1")).toEqual([]);
    expect(bed.domains("beta", "host1")).toHaveLength(1);
    expect(
      noted()
        .map((line) => line.split(" ")[0])
        .sort(),
    ).toEqual(["gateway", "guest"]);
  });

  it("B5: reaches nothing of the lender's", { timeout: STEP_MS }, async () => {
    told(bed);
    const { address } = await show("away");
    const namespace = bed.machines(plan.value).sites.get("beta")?.hosts.get("host1")?.namespace ?? "";
    const ports = portsOf(namespace).filter(({ master }) => /^mt[0-9a-f]{11}$/.test(master ?? ""));
    expect(ports.map(({ ifname }) => ifname.replace(/\d.*|[0-9a-f]{11}$/, "")).sort()).toEqual(["mg", "vnet"]);
    // The lender's host as if it were next to it, and the inside of the tunnel.
    const strange = ["10.254.144.10", "169.254.77.1"];
    const tries = strange.map((there) => `ip route add ${there}/32 dev eth0; ping -c 1 -W 1 ${there} && echo reached`);
    const said = await bed.ssh(address, `(${tries.join("; ")}) >&2; ping -c 1 -W 3 ${HOME}.1 > /dev/null && echo home`);
    expect(said.stderr).not.toContain("reached");
    expect(said.stdout).toBe("home\n");
  });

  it("B4: deleted, it leaves no end of a tunnel: no process, port, namespace, interface or note", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    const carriers = noted()
      .flatMap((line) => line.split(" ").slice(2))
      .filter((pid) => pid !== "kernel");
    await bed.muster("vm", "delete", "away", "--yes", "--wait", "90s");
    await until(
      () => `no ends are noted: ${noted().join("; ")}`,
      () => noted().length === 0,
    );
    expect(tunnelLinks()).toEqual([]);
    expect(carriers.filter(isAlive)).toEqual([]);
    expect(bed.domains("beta", "host1")).toEqual([]);
  });

  it("a federation that ends while one runs takes its tunnels with it", { timeout: STEP_MS }, async () => {
    told(bed);
    await bed.muster("vm", "create", "--name", "last", ...SMALL, "--ssh-key", bed.publicKey, "--burst", "only");
    await until("both ends are there", () => noted().length === 2, 60_000);
    const carriers = noted()
      .flatMap((line) => line.split(" ").slice(2))
      .filter((pid) => pid !== "kernel");
    const { tag } = bed.machines(plan.value);
    const { code } = await bed.run.interrupt();
    expect(code).toBe(0);
    expect(networkTraces(tag)).toEqual([]);
    expect(tracesOf(bed.state, [LOOPBACK, LOOPBACK + 1])).toEqual([]);
    expect(processesOf(bed.state)).toEqual([]);
    expect(carriers.filter(isAlive)).toEqual([]);
  });
});
