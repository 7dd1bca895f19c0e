import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muster/base";
import { afterEach, describe, expect, it } from "vitest";
import { defaultImageCache } from "../guest-image/index.ts";
import { DEFAULT_WISH, planFederation } from "../plan/federation-plan.ts";
import { stateFolder } from "../state/state-folder.ts";
import { planMachines } from "./machine-plan.ts";
import { QemuMachines } from "./machines.ts";
import { probeQemuRights } from "./rights.ts";

const rights = await probeQemuRights();
const wish = { ...DEFAULT_WISH, hypervisor: "qemu", sites: 1, hostsPerSite: 1, loopback: 153 } as const;
const plan = planFederation(wish);
if (!plan.ok) throw new Error(plan.error);
const root = mkdtempSync(join(tmpdir(), "mq"));
chmodSync(root, 0o711);
const machinePlan = planMachines(plan.value, root);
const cacheFolder = join(defaultImageCache(), "..", "libvirt");

function newMachines(): QemuMachines {
  return new QemuMachines({ plan: machinePlan, cacheFolder, clock: systemClock });
}

/** Interfaces and namespaces of these machines. */
function traces(): readonly string[] {
  const lines = (...args: readonly string[]): readonly string[] =>
    spawnSync("ip", [...args], { encoding: "utf8" }).stdout.split("\n");
  const names = [...lines("-brief", "link", "show"), ...lines("netns", "list")].map(
    (line) => line.split(/[@\s]/)[0] ?? "",
  );
  return names.filter((name) => name.startsWith(machinePlan.tag)).sort();
}

describe.runIf(rights.kind === "namespaces")("machines of a federation with real guests", () => {
  afterEach(async () => {
    await newMachines().close();
    rmSync(root, { recursive: true, force: true });
  });

  it("are cabled to their site, and an earlier run's are cleared away with what ran in them, also after it was killed", async () => {
    const [site] = plan.value.sites;
    const [host] = site?.hosts ?? [];
    if (site === undefined || host === undefined) throw new Error("no host planned");
    const folder = stateFolder(root).site(site.name).host(host.name);
    const killed = newMachines();
    expect(await killed.open()).toEqual({ ok: true, value: undefined });
    const daemon = await killed.machineOf(site, host, folder).start();
    const { tag } = machinePlan;
    const namespace = `${tag}-alpha-host1`;
    expect(traces()).toEqual([namespace, `${tag}l0`, `${tag}l0h1`, `${tag}u0`, `${tag}u0h1`].sort());
    // Nobody stops them: the next run comes over what is there.
    const next = newMachines();
    expect(await next.open()).toEqual({ ok: true, value: undefined });
    await daemon.exited;
    expect(traces()).toEqual([`${tag}l0`, `${tag}u0`]);
    const machine = next.machineOf(site, host, folder);
    await machine.stop(await machine.start());
    await next.close();
    expect(traces()).toEqual([]);
  }, 120_000);
});
