/** Real guests from a request to an ssh login, and to nothing left: the cases build on each other, in this order. */
import { DEFAULT_WISH, planFederation } from "@muster/federation";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { processesOf, tracesOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import type { CountingSession } from "./counting-session.ts";
import { GuestBed, interfacesIn, networkTraces, processesIn, told } from "./guest-bed.ts";
import { variantRuns } from "./variant.ts";

const LOOPBACK = 81;
const SMALL = ["--image", "small", "--memory", "128MiB", "--disk", "1GiB"];
const START_MS = 240_000;
const STEP_MS = 150_000;
/** How long a guest may say nothing while it is moved, on a machine that emulates it and has others to do as well. */
const SILENT_MS_MAX = 8_000;

const runs = await variantRuns("namespaces");

type Vm = {
  readonly id: string;
  readonly phase: string;
  readonly address: string;
  readonly access?: { readonly host: string; readonly port: number };
  readonly place: { readonly kind: string; readonly host: string };
  readonly move?: { readonly to: string };
};
type Host = {
  readonly name: string;
  readonly condition: string;
  readonly vms: number;
  readonly labels: { zone: string };
};

async function show<Shown = Vm>(bed: GuestBed, ...args: readonly string[]): Promise<Shown> {
  return JSON.parse(await bed.muster("--format", "json", ...args));
}

async function create(bed: GuestBed, name: string, ...more: readonly string[]): Promise<Vm> {
  await bed.muster("vm", "create", "--name", name, ...SMALL, "--ssh-key", bed.publicKey, ...more, "--wait", "90s");
  return show(bed, "vm", "show", name);
}

describe.runIf(runs)("real guests on hosts in namespaces", () => {
  const plan = planFederation({ ...DEFAULT_WISH, hypervisor: "qemu", sites: 2, hostsPerSite: 2, loopback: LOOPBACK });
  if (!plan.ok) throw new Error(plan.error);
  let bed: GuestBed;
  let web: Vm;
  let data: Vm;
  let red: string;
  let session: CountingSession | undefined;

  beforeAll(async () => {
    bed = GuestBed.begin(["--sites", "2", "--hosts", "2", "--managers", "1", "--loopback", String(LOOPBACK)]);
    await bed.run.saying(/Ctrl-C stops everything/, START_MS);
  }, START_MS + 10_000);
  afterAll(() => {
    session?.end();
    return bed.clear();
  }, 60_000);

  const hosts = (): Promise<readonly Host[]> => show(bed, "host", "list");
  const namespaceOf = (site: string, host: string): string =>
    bed.machines(plan.value).sites.get(site)?.hosts.get(host)?.namespace ?? "";
  const tag = (): string => bed.machines(plan.value).tag;

  it("a request becomes a VM that its user, and nobody else, logs in to at the reported address", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    await bed.muster(
      "network",
      "create",
      "red",
      "--attachment",
      "vxlan",
      "--cidr",
      "10.53.1.0/24",
      "--gateway",
      "none",
    );
    await bed.muster(
      "network",
      "create",
      "blue",
      "--attachment",
      "vxlan",
      "--cidr",
      "10.53.2.0/24",
      "--gateway",
      "none",
    );
    web = await create(bed, "web", "--network", "lan", "--network", "red");
    expect(web.address).toMatch(/^10\.253\.81\./);
    await bed.loggedIn(web.address);
    const said = await bed.ssh(web.address, "hostname; cat /sys/class/net/eth0/mtu /sys/class/net/eth1/mtu");
    expect(said.stdout).toBe("web\n1500\n1450\n");
    expect((await bed.ssh(web.address, "true", "stranger")).stderr).toMatch(/Permission denied/);
  });

  it("tenant networks join guests across hosts, and keep out who is not on them", { timeout: STEP_MS }, async () => {
    told(bed);
    const networks = ["lan", "red", "blue"].flatMap((name) => ["--network", name]);
    const zone = (await hosts()).find(({ name }) => name !== web.place.host)?.labels.zone;
    data = await create(bed, "data", ...networks, "--label", `zone=${zone}`);
    expect(data.place.host).not.toBe(web.place.host);
    await bed.loggedIn(data.address);
    const addressOn = async (device: string): Promise<string> =>
      (
        await bed.ssh(data.address, `ip -4 -o addr show ${device} | awk '{ sub("/.*", "", $4); print $4 }'`)
      ).stdout.trim();
    const blue = await addressOn("eth2");
    red = await addressOn("eth1");
    const pings = async (address: string, bytes = 56): Promise<boolean> =>
      (await bed.ssh(web.address, `ping -c 2 -W 3 -s ${bytes} ${address}`)).code === 0;
    expect(await pings(red)).toBe(true);
    expect(await pings(red, 1_422)).toBe(true);
    // As if it were on that network, by an address of it on the interface that it does have.
    await bed.ssh(web.address, "ip addr add 10.53.2.200/24 dev eth1");
    expect(await pings(blue)).toBe(false);
  });

  it("a VM is moved alive: its address stays, and so do its sessions and its networks", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    session = bed.counting(web.address);
    await session.goesOn();
    await bed.muster("vm", "migrate", "web", "--wait", "60s");
    const moved = await show(bed, "vm", "show", "web");
    expect(moved).toMatchObject({ address: web.address, place: { kind: "host", host: data.place.host } });
    await session.goesOn();
    expect((await bed.ssh(web.address, `ping -c 2 -W 3 ${red}`)).code).toBe(0);
    expect(session.silentMs).toBeLessThan(SILENT_MS_MAX);
    expect(bed.domains("alpha", web.place.host)).toEqual([]);
  });

  it("M1: a VM whose move breaks off goes on where it was, and what was begun elsewhere is gone", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    const [stays, elsewhere] = [data.place.host, web.place.host];
    const there = namespaceOf("alpha", elsewhere);
    await bed.muster("vm", "migrate", "web", "--to", elsewhere);
    await until("the other host takes the guest in", () => processesIn(there, "qemu-system-x86_64").length > 0);
    for (const pid of processesIn(there, "libvirtd")) process.kill(pid, "SIGKILL");
    await until("the move is over", async () => (await show(bed, "vm", "show", "web")).move === undefined, 60_000);
    expect(await show(bed, "vm", "show", "web")).toMatchObject({ phase: "running", place: { host: stays } });
    await session?.goesOn();
    await until(
      "the other host is well again",
      async () => (await hosts()).find(({ name }) => name === elsewhere)?.condition === "accepting",
      60_000,
    );
    await until("nothing is left there", () => bed.domains("alpha", elsewhere).length === 0, 60_000);
    expect(processesIn(there, "qemu-system-x86_64")).toEqual([]);
  });

  it("a host that is drained ends empty, its VM alive elsewhere with its session", { timeout: STEP_MS }, async () => {
    told(bed);
    const [drained, other] = [data.place.host, web.place.host];
    await bed.muster("vm", "delete", "data", "--yes", "--wait", "90s");
    await bed.muster("host", "drain", drained, "--wait", "90s");
    expect((await hosts()).find(({ name }) => name === drained)).toMatchObject({ condition: "draining", vms: 0 });
    expect(bed.domains("alpha", drained)).toEqual([]);
    expect(await show(bed, "vm", "show", "web")).toMatchObject({ phase: "running", place: { host: other } });
    await session?.goesOn();
    const numbers = session?.numbers ?? [];
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    session?.end();
    await bed.muster("host", "undrain", drained);
    expect((await hosts()).find(({ name }) => name === drained)?.condition).toBe("accepting");
  });

  it("a VM goes to the peer where it may, and its user logs in there at a port of the host that it is behind", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    const front = ["--attachment", "vxlan", "--cidr", "10.53.9.0/24", "--outside", "nat", "--default"];
    await bed.muster("--site", "beta", "network", "create", "front", ...front);
    const away = await create(bed, "away", "--burst", "only");
    expect(away.place.kind).toBe("peer");
    expect(away.address).toMatch(/^10\.53\.9\./);
    expect(away.access?.host).toMatch(/^10\.253\.82\.2\d\d$/);
    await bed.loggedIn(`${away.access?.host}:${away.access?.port}`);
    const said = await bed.muster("vm", "ssh", "-i", bed.privateKey, "root@away", "--", "hostname");
    expect(said).toBe("away\n");
    // Beyond its network is this machine; its lender's hosts and their tunnels are not for it.
    const inside = `${away.access?.host}:${away.access?.port}`;
    expect((await bed.ssh(inside, "ping -c 1 -W 3 10.253.82.1")).code).toBe(0);
    for (const address of ["10.254.82.10", "10.254.82.11"])
      expect((await bed.ssh(inside, `ping -c 1 -W 1 ${address}`)).code, address).not.toBe(0);
  });

  it("VMs that are deleted leave nothing: no domain, disk, seed, interface or note", { timeout: STEP_MS }, async () => {
    told(bed);
    await bed.muster("vm", "delete", "web", "away", "--yes", "--wait", "90s");
    await until(
      () => `no files of guests: ${bed.guestFiles().join(" ")}`,
      () => bed.guestFiles().length === 0,
    );
    for (const site of plan.value.sites) {
      for (const host of site.hosts) {
        expect(bed.domains(site.name, host.name)).toEqual([]);
        expect(interfacesIn(namespaceOf(site.name, host.name))).toEqual(["br-lan", "lan0", "lo", "under0"]);
      }
    }
    expect(bed.noted()).toEqual([]);
    expect(processesOf(bed.state).filter(({ command }) => /qemu-system|dnsmasq/.test(command))).toEqual([]);
  });

  it("a federation that ends leaves no process, mount, namespace or interface, guests included", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    await create(bed, "last");
    expect(networkTraces(tag())).not.toEqual([]);
    const { code } = await bed.run.interrupt();
    expect(code).toBe(0);
    expect(networkTraces(tag())).toEqual([]);
    expect(tracesOf(bed.state, [LOOPBACK, LOOPBACK + 1])).toEqual([]);
  });
});
