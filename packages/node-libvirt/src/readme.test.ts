import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";

it("the first example of the README runs as it stands", async () => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const example = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? "";
  const folder = await mkdtemp(join(tmpdir(), "nlv-readme-"));
  const index = new URL("./index.ts", import.meta.url).href;
  const script = example.replace('"node-libvirt"', JSON.stringify(index)).replace("/tmp/my-libvirt", folder);
  const run = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", script], { encoding: "utf8" });
  await rm(folder, { recursive: true });
  expect(run.stderr).toBe("");
  expect(run.stdout.split("\n").slice(0, 3)).toEqual([
    "web: defined (added)",
    "web: started (booted)",
    "web: stopped (destroyed)",
  ]);
});
