import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CONFINED_FILE, runConfined } from "./confined.ts";

const folder = mkdtempSync(join(tmpdir(), "confined-"));
const isRoot = process.getuid?.() === 0;
const mayUnshare = spawnSync("unshare", ["--net", "--ipc", "--", "true"]).status === 0;
let file: FileHandle;

beforeAll(async () => {
  writeFileSync(join(folder, "disk.raw"), Buffer.alloc(512));
  file = await open(join(folder, "disk.raw"));
});
afterAll(async () => {
  await file.close();
  rmSync(folder, { recursive: true });
});

async function codeOf(...args: string[]): Promise<number> {
  const ended = await runConfined(file.fd, args);
  if (!ended.ok) throw new Error(ended.error.message);
  return ended.value.code;
}

describe("runConfined", () => {
  it("lets qemu-img read the file that it is given", async () => {
    expect(await codeOf("info", "-f", "raw", CONFINED_FILE)).toBe(0);
  });

  it("lets it read no other file that is not for everybody, and write nowhere, also where all may", async () => {
    expect(await codeOf("info", "-f", "raw", "/etc/shadow")).not.toBe(0);
    const made = join(folder, "made.qcow2");
    spawnSync("chmod", ["777", folder]);
    await runConfined(file.fd, ["create", "-f", "qcow2", made, "1M"]);
    expect(existsSync(made) && spawnSync("stat", ["-c", "%s", made]).stdout.toString().trim()).toBeOneOf([false, "0"]);
  });

  it.runIf(isRoot && mayUnshare)("lets it reach nobody by the network", async () => {
    let connections = 0;
    const server = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    server.listen(0, "127.51.0.8");
    await once(server, "listening");
    const address = server.address();
    const url = `nbd://127.51.0.8:${typeof address === "object" ? address?.port : 0}/disk`;
    expect(await codeOf("info", url)).not.toBe(0);
    expect(connections).toBe(0);
    server.close();
    await once(server, "close");
  });
});
