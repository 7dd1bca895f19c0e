import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inspectHeader, inspectImage } from "./inspect-image.ts";
import { readOverlay } from "./overlay.ts";

const folder = mkdtempSync(join(tmpdir(), "disk-image-"));
const at = (name: string): string => join(folder, name);
const qemuImg = (...args: string[]): void => {
  execFileSync("qemu-img", args, { stdio: "ignore" });
};
const reasonOf = async (name: string, format: "qcow2" | "raw"): Promise<string> => {
  const image = await inspectImage(at(name), format);
  return image.ok ? "fine" : image.error.reason;
};

beforeAll(() => {
  writeFileSync(at("content.raw"), Buffer.alloc(3 * 2 ** 20, "content "));
  qemuImg("convert", "-f", "raw", "-O", "qcow2", at("content.raw"), at("good.qcow2"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("inspectImage", () => {
  it("tells size and format of a whole image, and leaves it as it was", async () => {
    const before = readFileSync(at("good.qcow2"));
    const bytes = statSync(at("good.qcow2")).size;
    expect(await inspectImage(at("good.qcow2"), "qcow2")).toEqual({
      ok: true,
      value: { format: "qcow2", bytes, virtualMiB: 3 },
    });
    expect(await inspectImage(at("content.raw"), "raw")).toMatchObject({ ok: true, value: { virtualMiB: 3 } });
    expect(readFileSync(at("good.qcow2")).equals(before)).toBe(true);
  });

  it("reads an image that only its owner may read, in a folder that only its owner may enter", async () => {
    qemuImg("create", "-f", "qcow2", at("private.qcow2"), "1M");
    chmodSync(at("private.qcow2"), 0o600);
    chmodSync(folder, 0o700);
    expect(await reasonOf("private.qcow2", "qcow2")).toBe("fine");
  });

  it("refuses an image whose backing file is a path of the host", async () => {
    qemuImg("create", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", at("backed.qcow2"), "1M");
    const image = await inspectImage(at("backed.qcow2"), "qcow2");
    expect(image).toMatchObject({ ok: false, error: { reason: "backing-file" } });
    expect(JSON.stringify(image)).not.toContain("passwd");
  });

  it("refuses an image whose data lies in another file", async () => {
    qemuImg("create", "-f", "qcow2", "-o", `data_file=${at("data.raw")}`, at("external.qcow2"), "1M");
    expect(await reasonOf("external.qcow2", "qcow2")).toBe("external-data-file");
  });

  it("refuses a raw image that begins as a qcow2 file, and a qcow2 image that does not", async () => {
    expect(await reasonOf("good.qcow2", "raw")).toBe("wrong-format");
    expect(await reasonOf("content.raw", "qcow2")).toBe("wrong-format");
    qemuImg("create", "-f", "vmdk", at("other.vmdk"), "1M");
    expect(await reasonOf("other.vmdk", "raw")).toBe("wrong-format");
  });

  it.each([2, 200, 70_000, 400_000, 1_000_000])("refuses an image cut off after %i bytes", async (bytes) => {
    writeFileSync(at("cut.qcow2"), readFileSync(at("good.qcow2")));
    truncateSync(at("cut.qcow2"), bytes);
    const reason = await reasonOf("cut.qcow2", "qcow2");
    expect(["truncated", "damaged", "wrong-format"]).toContain(reason);
  });

  it("refuses what is empty, no file, or an odd number of bytes of raw disk", async () => {
    writeFileSync(at("empty"), "");
    expect(await reasonOf("empty", "raw")).toBe("truncated");
    writeFileSync(at("odd.raw"), "odd");
    expect(await reasonOf("odd.raw", "raw")).toBe("truncated");
    symlinkSync("/etc/passwd", at("link"));
    expect(await reasonOf("link", "raw")).toBe("damaged");
    expect(await reasonOf(".", "raw")).toBe("damaged");
    execFileSync("mkfifo", [at("pipe")]);
    expect(await reasonOf("pipe", "raw")).toBe("damaged");
  });

  it.each([
    ["QED\0", 0, "QED"],
    ["KDMV", 0, "VMDK"],
    ["# Disk DescriptorFile", 0, "VMDK"],
    ["conectix", 0, "VHD"],
    ["vhdxfile", 0, "VHDX"],
    ["\x7f\x10\xda\xbe", 64, "VDI"],
    ["LUKS\xba\xbe", 0, "LUKS"],
    ["WithoutFreeSpace", 0, "parallels"],
    ["WithouFreSpacExt", 0, "parallels"],
    ["Bochs Virtual HD Image", 0, "bochs"],
    ["#!/bin/sh\n#V2.0 Format\n", 0, "cloop"],
  ])("refuses a raw image that could be taken for another format: %j at %i", async (bytes, from, format) => {
    const disk = Buffer.alloc(2 ** 20);
    disk.write(bytes, from, "latin1");
    writeFileSync(at("like.raw"), disk);
    for (const look of [inspectImage, inspectHeader]) {
      const image = await look(at("like.raw"), "raw");
      expect(image.ok ? "fine" : image.error.message).toContain(`begins like ${format}:`);
    }
    disk.write(" ", from, "latin1");
    writeFileSync(at("like.raw"), disk);
    expect(await reasonOf("like.raw", "raw")).toBe("fine");
  });

  it("refuses what only qemu-img check finds: an image whose tables count wrongly, with a whole header", async () => {
    const torn = readFileSync(at("good.qcow2"));
    const refcountTableAt = Number(torn.readBigUInt64BE(48));
    torn.fill(0, refcountTableAt, refcountTableAt + 8);
    writeFileSync(at("miscounted.qcow2"), torn);
    expect(await inspectHeader(at("miscounted.qcow2"), "qcow2")).toMatchObject({ ok: true });
    expect(await inspectImage(at("miscounted.qcow2"), "qcow2")).toMatchObject({
      ok: false,
      error: { reason: "damaged", message: expect.stringContaining("qemu-img check") },
    });
  });

  it("refuses an encrypted image", async () => {
    const locked = readFileSync(at("good.qcow2"));
    locked.writeUInt32BE(2, 32);
    writeFileSync(at("locked.qcow2"), locked);
    expect(await reasonOf("locked.qcow2", "qcow2")).toBe("encrypted");
  });

  it("S2: answers in one line, and in bounded time, whatever the bytes of a qcow2 file are", async () => {
    const good = readFileSync(at("good.qcow2"));
    for (let seed = 1; seed <= 20; seed += 1) {
      const torn = Buffer.from(good);
      for (let at = 20 + seed; at < 400; at += 17 + seed) torn[at] = (at * seed * 31) & 255;
      writeFileSync(at("torn.qcow2"), torn);
      const image = await inspectImage(at("torn.qcow2"), "qcow2");
      if (!image.ok) expect(image.error.message).toMatch(/^[^\p{Cc}]{1,500}$/u);
    }
  });
});

describe("inspectHeader", () => {
  it("tells the same as the whole look, and refuses what reaches outside, by the first bytes alone", async () => {
    for (const [name, format] of [
      ["good.qcow2", "qcow2"],
      ["content.raw", "raw"],
    ] as const) {
      expect(await inspectHeader(at(name), format)).toEqual(await inspectImage(at(name), format));
    }
    const refused = [
      ["backed.qcow2", "backing-file"],
      ["external.qcow2", "external-data-file"],
      ["locked.qcow2", "encrypted"],
      ["content.raw", "wrong-format"],
    ] as const;
    for (const [name, reason] of refused)
      expect(await inspectHeader(at(name), "qcow2")).toMatchObject({ ok: false, error: { reason } });
  });
});

describe("readOverlay", () => {
  it("tells the size of a disk of our own and the file that lies under it, and nothing of what is no disk", async () => {
    qemuImg("create", "-f", "qcow2", "-F", "qcow2", "-b", at("good.qcow2"), at("overlay.qcow2"), "8M");
    expect(await readOverlay(at("overlay.qcow2"))).toMatchObject({
      virtualBytes: 8n * 2n ** 20n,
      backingFile: at("good.qcow2"),
    });
    expect((await readOverlay(at("good.qcow2")))?.backingFile).toBeUndefined();
    expect(await readOverlay(at("content.raw"))).toBeUndefined();
  });
});
