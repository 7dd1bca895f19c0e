import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muster/base";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { uuid } from "../testing/fixture.ts";
import { QemuMachine, whyNoQemu } from "../testing/qemu-machine.ts";
import { until } from "../testing/until.ts";
import { newEnough } from "./guest-starter.ts";
import { PROBE_MARKER, PROBE_NAME, probeSector, probeXml } from "./virt-probe.ts";
import { VirtTypes } from "./virt-type.ts";

describe.runIf(whyNoQemu() === undefined)("the kind of virtualisation", () => {
  let machine: QemuMachine;
  let folder: string;

  beforeAll(async () => {
    machine = await QemuMachine.start();
  }, 90_000);
  afterAll(() => machine.remove());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "muster-vt-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function types(wish: "auto" | "kvm" | "qemu", machineBoot = "boot-1"): VirtTypes {
    return new VirtTypes({ wish, clock: systemClock, folder, machineBoot, probeMs: 2_000 });
  }

  it("the probe guest says its word on a processor that works", { timeout: 60_000 }, async () => {
    const [disk, serial] = [join(folder, "probe.img"), join(folder, "probe.log")];
    writeFileSync(disk, probeSector());
    const { domains } = machine.behind;
    const domain = await domains.create(probeXml({ type: "qemu", uuid: uuid(1, 8), disk, serial }));
    try {
      await until("the word", () => readFileSync(serial, "latin1").includes(PROBE_MARKER), 30_000);
    } finally {
      await domains.destroy(domain);
    }
  });

  it("auto: KVM only where the probe guest ran, with the reason, kept for this boot, and nothing is left", {
    timeout: 60_000,
  }, async () => {
    const auto = types("auto");
    const resolved = await auto.resolve(machine.behind);
    if (!resolved.ok) throw new Error(resolved.error);
    expect(auto.report?.virtType).toBe(resolved.value);
    expect(auto.report?.because).toMatch(
      resolved.value === "kvm"
        ? /^a probe guest ran on KVM$/
        : /^KVM is there and does not work: |^libvirt offers no KVM/,
    );
    expect(await machine.behind.domains.lookupByName(PROBE_NAME)).toBeUndefined();
    expect(await types("auto").resolve(machine.behind)).toEqual(resolved);
  });

  it("auto: what was found in this boot is believed, and what was found in another one is not", async () => {
    mkdirSync(folder, { recursive: true });
    const found = { machineBoot: "boot-1", virtType: "kvm", because: "found before" };
    writeFileSync(join(folder, "virt-type.json"), JSON.stringify(found));
    const offered = (await machine.behind.node.capabilities()).includes("type='kvm'");
    const here = types("auto", "boot-1");
    await here.resolve(machine.behind);
    expect(here.report?.because).toBe(offered ? "found before" : "libvirt offers no KVM here");
    const rebooted = types("auto", "boot-2");
    await rebooted.resolve(machine.behind);
    expect(rebooted.report?.because).not.toBe("found before");
  });

  it("qemu is what it is told to be", async () => {
    expect(await types("qemu").resolve(machine.behind)).toEqual({ ok: true, value: "qemu" });
  });
});

describe("a libvirt that is too old", () => {
  it("is refused with both versions, and a new one is not", () => {
    expect(newEnough(7_000_000n)).toEqual({
      ok: false,
      error: "libvirt 7.0.0 of this host is too old: guests need 8.0.0 or later",
    });
    expect(newEnough(9_000_000n)).toMatchObject({ ok: true });
  });
});
