import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { StartStep } from "../guest/guest-steps.ts";
import { vmId } from "../testing/fixture.ts";
import { nic, QemuMachine, whyNoQemu } from "../testing/qemu-machine.ts";
import { until } from "../testing/until.ts";
import type { LibvirtGuestsOptions } from "./libvirt-guests.ts";
import type { DomainPlan, Hypervisor } from "./port.ts";

const NOTHING = { domains: [], folders: [], uses: [] };
const STEPS: readonly StartStep[] = ["folder", "networks", "disk", "seed", "define", "start", "note", "done"];

describe.runIf(whyNoQemu() === undefined)("a real guest on a private libvirtd", { timeout: 60_000 }, () => {
  let machine: QemuMachine;

  beforeAll(async () => {
    machine = await QemuMachine.start();
  }, 90_000);
  afterAll(() => machine.remove());
  afterEach(async () => {
    machine.networks.fault = undefined;
    machine.networks.broken = undefined;
    const hypervisor = await opened();
    for (const vm of (await machine.left()).domains) await hypervisor.act(vm, "delete");
    await hypervisor.discard?.((await machine.left()).folders);
    await hypervisor.close();
  });

  async function opened(more: Partial<LibvirtGuestsOptions> = {}): Promise<Hypervisor> {
    const hypervisor = machine.connect(more);
    let isUp = false;
    hypervisor.open(({ kind }) => {
      isUp ||= kind === "up";
    });
    await until("the hypervisor to be up", () => isUp);
    return hypervisor;
  }
  /** A host manager that dies in front of a step. */
  async function crashingAt(step: StartStep): Promise<Hypervisor> {
    return opened({
      onStep: (at) => {
        if (at === step) throw new Error("the host manager died");
      },
    });
  }
  async function refusalOf(plan: DomainPlan, more: Partial<LibvirtGuestsOptions> = {}): Promise<string> {
    const hypervisor = await opened(more);
    const outcome = await hypervisor.start(plan);
    await hypervisor.close();
    return outcome.kind === "refused" ? outcome.reason : `not refused: ${JSON.stringify(outcome)}`;
  }
  function withImage(image: Partial<ReturnType<QemuMachine["image"]>>): DomainPlan {
    const plan = machine.plan(1);
    return { ...plan, subject: { ...plan.subject, guest: { image: { ...machine.image(), ...image }, nics: [] } } };
  }

  it.each(STEPS)(
    "H5: after a crash before «%s», the next start goes on from there, and its deletion leaves nothing",
    async (step) => {
      const crashing = await crashingAt(step);
      expect(await crashing.start(machine.plan(1))).toMatchObject({ kind: "unknown" });
      await crashing.close();
      const next = await opened();
      await next.tidy?.(new Set([vmId(1)]));
      expect(await next.start(machine.plan(1))).toMatchObject({
        kind: "done",
        domain: { state: "running", address: `${machine.networks.address}:42001`, plan: { attempt: 1 } },
      });
      expect(await machine.left()).toEqual({ domains: [vmId(1)], folders: [vmId(1)], uses: [vmId(1)] });
      const record = JSON.parse(readFileSync(join(machine.state, "guests", vmId(1), "guest.json"), "utf8"));
      expect(record).toEqual({ attempt: 1, stage: "started" });
      expect(await next.act(vmId(1), "delete")).toEqual({ kind: "done" });
      await next.close();
      expect(await machine.left()).toEqual(NOTHING);
    },
  );

  it.each(["folder", "networks", "disk", "seed", "define"] as const)(
    "a start that died before «%s» and is not ordered again leaves nothing",
    async (step) => {
      const crashing = await crashingAt(step);
      await crashing.start(machine.plan(1));
      await crashing.close();
      const next = await opened();
      await next.tidy?.(new Set());
      await next.close();
      expect(await machine.left()).toEqual(NOTHING);
    },
  );

  it("H3: a VM that runs has a user's disk, also where a crash kept that from being noted", async () => {
    const crashing = await crashingAt("note");
    await crashing.start(machine.plan(1));
    await crashing.close();
    const next = await opened();
    await next.tidy?.(new Set());
    machine.networks.fault = "the bridge is gone";
    await next.act(vmId(1), "stop");
    expect(await next.start(machine.plan(1))).toMatchObject({ kind: "refused" });
    expect((await machine.left()).folders).toEqual([vmId(1)]);
    await next.close();
  });

  it("H3: a disk of which nobody knows whose it is stays where it is, and the start is refused", async () => {
    const folder = join(machine.state, "guests", vmId(3));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "disk.qcow2"), "somebody's");
    const hypervisor = await opened();
    expect(await hypervisor.start(machine.plan(3))).toMatchObject({ kind: "refused" });
    await hypervisor.tidy?.(new Set());
    await hypervisor.close();
    expect(readFileSync(join(folder, "disk.qcow2"), "utf8")).toBe("somebody's");
  });

  it("an attempt takes nothing over from an earlier one that died here", async () => {
    const crashing = await crashingAt("define");
    await crashing.start(machine.plan(1, 1));
    await crashing.close();
    const next = await opened();
    expect(await next.start(machine.plan(1, 2))).toMatchObject({ kind: "done", domain: { plan: { attempt: 2 } } });
    const record = JSON.parse(readFileSync(join(machine.state, "guests", vmId(1), "guest.json"), "utf8"));
    expect(record).toEqual({ attempt: 2, stage: "started" });
    await next.close();
  });

  it.each([
    ["a digest that is another one's", { digest: `sha256:${"0".repeat(64)}` }, /does not match its digest/],
    [
      "a source that sends less",
      { digest: `sha256:${"1".repeat(64)}`, bytes: 2 ** 21 },
      /cut off after 1048576 of 2097152/,
    ],
    ["a source that sends more", { digest: `sha256:${"2".repeat(64)}`, bytes: 1_000 }, /bigger than the 1000 bytes/],
    ["no source", { digest: `sha256:${"3".repeat(64)}`, urls: [] }, /no place is known/],
    ["an image that needs more disk", { virtualMiB: 2_048 }, /needs a disk of 2 GiB and 1 GiB were asked for/],
  ])("%s: refused with the reason, and nothing is left", async (_what, image, reason) => {
    const refusal = await refusalOf(withImage(image));
    expect(refusal).toMatch(reason);
    expect(refusal).not.toContain("s3cret");
    expect(await machine.left()).toEqual(NOTHING);
  });

  it("a network that the host does not have: refused with the reason, and nothing is left", async () => {
    machine.networks.fault = "this host has no network lan";
    expect(await refusalOf(machine.plan(1))).toBe("this host has no network lan");
    expect(await machine.left()).toEqual(NOTHING);
  });

  it("a domain that libvirt does not take or cannot start: refused with libvirt's words, and nothing is left", async () => {
    const uefi = { code: "/nonexistent/code.fd", variables: "/nonexistent/variables.fd" };
    expect(await refusalOf(machine.plan(1, 1, { firmware: "uefi" }), { uefi })).toContain("/nonexistent/");
    expect(await machine.left()).toEqual(NOTHING);
  });

  it("GPUs and CPUs that the host does not have: refused with the reason, and nothing is left", async () => {
    expect(await refusalOf(machine.plan(1, 1, { gpus: 1 }))).toBe("1 GPUs were asked for and 0 of 0 are free");
    const dedicated = machine.plan(1, 1, { vcpus: 2, dedicatedCpus: true });
    expect(await refusalOf(dedicated, { dedicatedCpus: [0] })).toMatch(
      /2 CPUs of its own were asked for, and 1 of the 1/,
    );
    expect(await machine.left()).toEqual(NOTHING);
  });

  it("a refusal that was itself cut off leaves nothing once the start is tried again", async () => {
    const plan = withImage({ digest: `sha256:${"4".repeat(64)}`, urls: [] });
    const crashing = await crashingAt("disk");
    await crashing.start(plan);
    await crashing.close();
    expect(await refusalOf(plan)).toMatch(/no place is known/);
    expect(await machine.left()).toEqual(NOTHING);
  });

  it("a deletion that was cut off behind the domain is done by the next process, or by the same order again", async () => {
    for (const again of [true, false]) {
      const first = await opened();
      await first.start(machine.plan(1));
      machine.networks.broken = "the host manager died";
      expect(await first.act(vmId(1), "delete")).toMatchObject({ kind: "unknown" });
      machine.networks.broken = undefined;
      await first.close();
      expect(await machine.left()).toEqual({ domains: [], folders: [vmId(1)], uses: [vmId(1)] });
      const next = await opened();
      if (again) expect(await next.act(vmId(1), "delete")).toEqual({ kind: "done" });
      else await next.tidy?.(new Set());
      await next.close();
      expect(await machine.left()).toEqual(NOTHING);
    }
  });

  it("H3: a VM that ran keeps its disk when it cannot be started again", async () => {
    const hypervisor = await opened();
    await hypervisor.start(machine.plan(1));
    await hypervisor.act(vmId(1), "stop");
    machine.networks.fault = "the bridge is gone";
    expect(await hypervisor.start(machine.plan(1))).toEqual({ kind: "refused", reason: "the bridge is gone" });
    expect((await machine.left()).folders).toEqual([vmId(1)]);
    await hypervisor.tidy?.(new Set());
    expect((await machine.left()).folders).toEqual([vmId(1)]);
    machine.networks.fault = undefined;
    expect(await hypervisor.start(machine.plan(1))).toMatchObject({ kind: "done" });
    await hypervisor.act(vmId(1), "stop");
    rmSync(join(machine.state, "guests", vmId(1), "disk.qcow2"));
    expect(await hypervisor.start(machine.plan(1))).toEqual({
      kind: "refused",
      reason: "its disk is gone from this host",
    });
    await hypervisor.close();
  });

  it("S3: neither user-data nor keys nor the ticket of a source stand in what libvirt shows", async () => {
    const sshKeys = [
      `ssh-ed25519 ${Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from("ssh-ed25519"), Buffer.alloc(36)]).toString("base64")} eve@example`,
    ];
    const hypervisor = await opened();
    await hypervisor.start(machine.plan(1, 1, { sshKeys }));
    const xml = await machine.behind.domains.xml({ uuid: vmId(1) });
    expect(xml).toContain("urn:muster:vm:1");
    for (const secret of ["s3cret", "ssh-ed25519", "ticket", "echo"]) expect(xml).not.toContain(secret);
    await hypervisor.close();
  });

  it("a guest goes on when libvirtd is started anew, and its VM is told as it is", async () => {
    const first = await opened();
    await first.start(machine.plan(1));
    await first.close();
    await machine.restart();
    const second = await opened();
    const survey = await second.survey();
    expect(survey).toMatchObject({ kind: "surveyed", domains: [{ uuid: vmId(1), state: "running" }] });
    await second.close();
  });

  it("an image is fetched once, told, and used by the next VM", async () => {
    const hypervisor = await opened();
    machine.fetches = 0;
    rmSync(join(machine.state, "images"), { recursive: true });
    await hypervisor.close();
    const again = await opened();
    await Promise.all([again.start(machine.plan(1)), again.start(machine.plan(2))]);
    expect(machine.fetches).toBe(1);
    const survey = await again.survey();
    expect(survey).toMatchObject({
      facts: { images: [machine.image().digest], driver: "QEMU", labels: { virt: "qemu" } },
    });
    await again.close();
  });

  it("UEFI, the host's CPU, shares, an MTU: all of it starts", async () => {
    const hypervisor = await opened();
    const plan = machine.plan(1, 1, { firmware: "uefi", cpuModel: "host", memoryMiB: 128 });
    const { guest } = plan.subject;
    const nics = [nic(1), nic(2, { addressing: "static", address: "10.1.2.3/24", gateway: "10.1.2.1" })];
    const outcome = await hypervisor.start({
      ...plan,
      subject: { ...plan.subject, guest: guest && { ...guest, nics } },
    });
    expect(outcome).toMatchObject({ kind: "done", domain: { state: "running" } });
    expect(await hypervisor.act(vmId(1), "delete")).toEqual({ kind: "done" });
    expect(await machine.left()).toEqual(NOTHING);
    await hypervisor.close();
  });
});
