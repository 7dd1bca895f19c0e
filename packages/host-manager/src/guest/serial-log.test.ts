import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readLogPart } from "./serial-log.ts";

const folder = mkdtempSync(join(tmpdir(), "serial-log-"));
const path = join(folder, "serial.log");
afterAll(() => rmSync(folder, { recursive: true }));
const text = async (offset: number | undefined, max: number): Promise<string | undefined> => {
  const part = await readLogPart(path, offset, max);
  return part === undefined ? undefined : `${part.offset}/${part.size} ${Buffer.from(part.data).toString()}`;
};

describe("readLogPart", () => {
  it("S2: reads no more than it is asked for, from an offset or at the end, and goes on when more came", async () => {
    writeFileSync(path, "0123456789");
    expect(await text(0, 4)).toBe("0/10 0123");
    expect(await text(4, 100)).toBe("4/10 456789");
    expect(await text(undefined, 3)).toBe("7/10 789");
    expect(await text(undefined, 100)).toBe("0/10 0123456789");
    expect(await text(10, 5)).toBe("10/10 ");
    appendFileSync(path, "ab");
    expect(await text(10, 5)).toBe("10/12 ab");
  });

  it("takes an offset past the end of a log that began anew for its end", async () => {
    writeFileSync(path, "new");
    expect(await text(500, 5)).toBe("3/3 ");
  });

  it("reads no link, no pipe, and nothing that is not there", async () => {
    symlinkSync("/etc/hostname", join(folder, "link"));
    execFileSync("mkfifo", [join(folder, "pipe")]);
    for (const name of ["link", "pipe", "missing", "."])
      expect(await readLogPart(join(folder, name), 0, 10)).toBeUndefined();
  });
});
