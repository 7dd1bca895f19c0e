import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ErrorCode } from "../fault.ts";
import { Libvirt } from "../libvirt.ts";
import { writeEchoDisk } from "../testing/echo-guest.ts";
import { eventually, rejection } from "../testing/eventually.ts";
import { type QemuMachine, startQemuMachine, whyNoQemu } from "../testing/qemu-machine.ts";
import type { DomainConsole } from "./domain-console.ts";

const UUID = "7d1fdb20-3b0f-4e3b-9d8c-0c6a7f6d2a12";
const GREETING = "hello from the guest";
const why = whyNoQemu();
if (why !== undefined) process.stderr.write(`consoles are not tested, they need guests on QEMU: ${why}\n`);

describe.runIf(why === undefined)("a console of a guest on QEMU", { timeout: 60_000 }, () => {
  let machine: QemuMachine;
  let libvirt: Libvirt;
  const consoles: DomainConsole[] = [];
  const faults: Error[] = [];

  beforeAll(async () => {
    machine = await startQemuMachine();
    const { socketPath, uri } = machine.daemon;
    libvirt = await Libvirt.open({ socketPath, uri });
    const disk = join(machine.folder, "echo.img");
    writeEchoDisk(disk, GREETING);
    await libvirt.domains.create(
      `<domain type='qemu'><name>echo</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='pc'>hvm</type></os>
      <devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='hda' bus='ide'/></disk>
      <serial type='pty'/></devices></domain>`,
    );
  }, 90_000);
  afterAll(async () => {
    await libvirt?.close();
    await machine?.remove();
  });
  afterEach(() => {
    for (const one of consoles.splice(0)) one.destroy();
  });

  async function open(options: Parameters<Libvirt["consoles"]["open"]>[1] = {}): Promise<DomainConsole> {
    const opened = await libvirt.consoles.open({ uuid: UUID }, { force: true, ...options });
    consoles.push(opened);
    opened.on("error", (fault) => faults.push(fault));
    return opened;
  }
  function heard(from: DomainConsole): { text: string } {
    const all = { text: "" };
    from.on("data", (bytes: Buffer) => {
      all.text += bytes.toString("latin1");
    });
    return all;
  }
  /** Types until the guest, which may still be in its firmware, answers. */
  async function awake(): Promise<void> {
    const console = await open();
    const all = heard(console);
    const typing = setInterval(() => console.write("\x01"), 100);
    await eventually("the guest answers", () => all.text.includes("\x02"), 30_000).finally(() => clearInterval(typing));
    await closed(console);
  }
  async function closed(console: DomainConsole): Promise<void> {
    console.destroy();
    if (!console.closed) await new Promise((resolve) => console.once("close", resolve));
  }

  it("carries what is typed to the guest, and back what the guest says", async () => {
    await awake();
    const console = await open();
    const all = heard(console);
    console.write("HAL");
    await eventually("the answer", () => all.text.includes("IBM"));
  });

  it("is refused to a second one, until the first is detached or it is forced", async () => {
    const first = await open();
    const refused = await rejection(open({ force: false }));
    expect(refused).toMatchObject({ kind: "libvirt", message: expect.stringMatching(/Active console session/) });
    const second = await open();
    await eventually("the first to be ended", () => first.destroyed);
    expect(faults).toContainEqual(expect.objectContaining({ kind: "libvirt" }));
    const all = heard(second);
    second.write("@");
    await eventually("the answer", () => all.text.includes("A"));
    await closed(second);
    await expect(open({ force: false })).resolves.toBeDefined();
  });

  it("carries much, in order, to a reader that stops now and then; other calls go on meanwhile", async () => {
    await awake();
    const sent = Buffer.from(randomBytes(6_000).map((byte) => (byte % 60) + 48));
    const console = await open();
    let got = "";
    console.on("data", (bytes: Buffer) => {
      // The answers to what woke it may still be on their way.
      got += bytes.toString("latin1").replaceAll("\x02", "");
      console.pause();
      setImmediate(() => console.resume());
    });
    for (let at = 0; at < sent.length; at += 16) {
      // The guest's UART holds 16 bytes and drops what comes on top: it is given time by waiting for what it answers.
      console.write(sent.subarray(at, at + 16));
      await eventually("the echo", () => got.length >= Math.min(at + 16, sent.length), 20_000);
    }
    expect(got === Buffer.from(sent.map((byte) => byte + 1)).toString("latin1")).toBe(true);
    expect(await libvirt.domains.isActive({ uuid: UUID })).toBe(true);
  });

  it("is refused for a domain that is not there, and leaves no connection", async () => {
    const fault = await rejection(libvirt.consoles.open({ uuid: UUID.replace("7d", "8d") }));
    expect(fault).toMatchObject({ kind: "libvirt", code: ErrorCode.noDomain });
  });

  it("ends when the guest does", async () => {
    const console = await open();
    console.resume();
    const end = new Promise((resolve) => console.once("close", resolve));
    await libvirt.domains.destroy({ uuid: UUID });
    await end;
    expect(console.destroyed).toBe(true);
  });
});
