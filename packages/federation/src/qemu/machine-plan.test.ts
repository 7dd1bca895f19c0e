import { describe, expect, it } from "vitest";
import { DEFAULT_WISH, HOSTS_MAX, planFederation, SITES_MAX } from "../plan/federation-plan.ts";
import { hostConfig } from "../plan/host-config.ts";
import { planMachines } from "./machine-plan.ts";

const largest = planFederation({ ...DEFAULT_WISH, hypervisor: "qemu", sites: SITES_MAX, hostsPerSite: HOSTS_MAX });
if (!largest.ok) throw new Error(largest.error);
const plan = largest.value;
const machines = planMachines(plan, "/var/lib/muster/up");
const all = [...machines.sites.values()].flatMap((site) => [...site.hosts.values()]);

describe("the machines of a federation with real guests", () => {
  it("have names that the kernel takes, each its own, and that another state folder's do not share", () => {
    const cables = all.flatMap(({ lanCable, underlayCable }) => [lanCable, underlayCable]);
    const bridges = [...machines.sites.values()].flatMap(({ lanBridge, underlayBridge }) => [
      lanBridge,
      underlayBridge,
    ]);
    const names = [...cables, ...bridges];
    expect(new Set(names).size).toBe(names.length);
    expect(Math.max(...names.map((name) => name.length))).toBeLessThan(16);
    expect(names.every((name) => name.startsWith(machines.tag))).toBe(true);
    expect(planMachines(plan, "/elsewhere").tag).not.toBe(machines.tag);
  });

  it("have an address each in their site's underlay, and identities that stay", () => {
    const alpha = [...(machines.sites.get("alpha")?.hosts.values() ?? [])];
    const addresses = alpha.map(({ underlayAddress }) => underlayAddress);
    expect(new Set(addresses).size).toBe(HOSTS_MAX);
    expect(new Set(alpha.map(({ lanAddress }) => lanAddress)).size).toBe(HOSTS_MAX);
    expect(alpha.every(({ lanAddress }) => Number(lanAddress.split(".")[3]) < 255)).toBe(true);
    expect(new Set(all.map(({ uuid }) => uuid)).size).toBe(all.length);
    expect(planMachines(plan, "/var/lib/muster/up")).toEqual(machines);
  });

  it("without namespaces take ports that no other host of the site takes", () => {
    const [site] = plan.sites;
    if (site === undefined) throw new Error("no site");
    const paths = { state: "", passwordFile: "", caFile: "", libvirtSocket: "" };
    const ranges = site.hosts.map((host) => {
      const config = hostConfig(site, host, plan.wish, paths) as {
        networks: { user: { firstPort: number; lastPort: number } };
      };
      return config.networks.user;
    });
    for (const [index, range] of ranges.entries())
      expect(range.firstPort).toBeGreaterThan(ranges[index - 1]?.lastPort ?? 0);
    expect(ranges.at(-1)?.lastPort).toBeLessThan(32_768);
  });
});
