import { execFileSync } from "node:child_process";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { FederationRun, newStateFolder } from "./federation-run.ts";
import { tracesOf } from "./traces.ts";
import { until } from "./until.ts";

const ARGS = ["--sites", "1", "--hosts", "1", "--hypervisor", "simulated", "--loopback", "79"];
const SPEC = { image: "debian-12", vcpus: 1, memoryMiB: 64, diskGiB: 1 };
let folder: string | undefined;
let run: FederationRun | undefined;

/** A file system of its own for the state, in memory. */
function smallDisk(sizeMiB: number): string {
  folder = newStateFolder();
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMiB}m,mode=711`, "muster-test", folder]);
  return folder;
}

/** Takes all that is left. */
function fill(path: string): void {
  const file = openSync(path, "w");
  const block = Buffer.alloc(64 * 1024);
  try {
    for (;;) writeSync(file, block);
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "ENOSPC")) throw cause;
  } finally {
    closeSync(file);
  }
}

afterEach(async () => {
  if (run !== undefined) {
    run.signal("SIGINT");
    await run.ended;
  }
  if (folder === undefined) return;
  execFileSync("umount", [folder]);
  rmSync(folder, { recursive: true, force: true });
  expect(tracesOf(folder, [79])).toEqual([]);
});

describe("a disk with no room", () => {
  it("refuses the start with what is needed and what to do", async () => {
    run = new FederationRun(smallDisk(48), ARGS);
    const { code, stderr } = await run.ended;
    expect(stderr).toMatch(/less than 64 MiB are free for \/tmp\/m.*; free some, or choose another --state/);
    expect(code).toBe(1);
  });

  it("L3: refuses what cannot be stored, loses nothing accepted, and goes on when there is room again", async () => {
    const state = smallDisk(100);
    run = await FederationRun.up(state, ARGS);
    const client = run.client("alpha", 500);
    const filler = join(state, "filler");
    fill(filler);
    const accepted: string[] = [];
    let refusal = "";
    await until(
      "a request that cannot be stored",
      async () => {
        const asked = await client.createVms(
          { name: `n${accepted.length}`, count: 50, spec: SPEC },
          `r${accepted.length}`,
        );
        if (asked.ok) accepted.push(...asked.value.vms.map(({ id }) => id));
        else refusal = asked.error.message;
        return refusal !== "";
      },
      60_000,
    );
    expect(refusal).toMatch(/disk|space|stor/i);
    rmSync(filler);
    await until(
      () => `a VM that can be stored again; ${run?.said.slice(-1_000)}`,
      async () => (await client.createVms({ name: "after", spec: SPEC }, "after")).ok,
      30_000,
    );
    const vms = await client.vms();
    const known = new Set(vms.ok ? vms.value.map(({ id }) => id) : []);
    expect(accepted.filter((id) => !known.has(id))).toEqual([]);
    const { code } = await run.interrupt();
    expect(code).toBe(0);
  });
});
