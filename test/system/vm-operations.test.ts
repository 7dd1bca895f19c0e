/** Saving, sizes, snapshots and volumes as a person asks for them, on simulated machines. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ended, FederationRun, muster, newStateFolder } from "./federation-run.ts";
import { tracesOf } from "./traces.ts";

let run: FederationRun;

function say(...args: readonly string[]): Promise<Ended> {
  return muster(["--state", run.state, ...args]);
}

/** Done, and waited for. */
async function done(...args: readonly string[]): Promise<string> {
  const ended = await say("vm", ...args);
  expect(ended.code, ended.stderr).toBe(0);
  return ended.stdout;
}

beforeAll(async () => {
  const simulated = ["--sites", "1", "--hosts", "2", "--hypervisor", "simulated", "--loopback", "56"];
  run = await FederationRun.up(newStateFolder(), simulated);
  await done("create", "--name", "web", "--image", "debian-12", "--cpus", "2", "--memory", "512MiB", "--wait");
}, 60_000);

afterAll(async () => {
  await run.clear();
  expect(tracesOf(run.state, [56])).toEqual([]);
});

describe("one VM after the other's wish", () => {
  it("is kept and taken back, has volumes and another size, and is saved", async () => {
    await done("snapshot", "create", "web", "before", "--wait");
    expect(await done("snapshot", "list", "web")).toMatch(/NAME +STATE +CREATED\s+before +running +20/);
    await done("stop", "web", "--force", "--wait");
    expect(await done("snapshot", "revert", "web", "before", "--yes", "--wait")).toMatch(/web +running/);
    await done("snapshot", "delete", "web", "before", "--wait");
    await done("volume", "create", "web", "data", "--size", "20GiB", "--wait");
    expect(await done("volume", "list", "web")).toMatch(/data +20 GiB +yes/);
    await done("volume", "detach", "web", "data", "--wait");
    await done("volume", "delete", "web", "data", "--yes", "--wait");
    await done("save", "web", "--wait");
    expect(await done("show", "web")).toMatch(/saved/);
    await done("start", "web", "--wait");
    await done("stop", "web", "--wait");
    expect(await done("resize", "web", "--cpus", "3", "--memory", "1GiB", "--wait")).toMatch(
      /web +stopped +host\d +3 +1024/,
    );
  }, 120_000);

  it.each([
    [1, ["resize", "web", "--disk", "1GiB"], /a disk only grows/],
    [2, ["resize", "web"], /--cpus, --memory or --disk/],
    [2, ["snapshot", "revert", "web", "x"], /--yes/],
    [3, ["volume", "detach", "web", "none"], /no volume none/],
  ])("exit code %i for muster vm %j", async (code, args, message) => {
    const ended = await say("vm", ...args);
    expect(ended.stderr).toMatch(message);
    expect(ended.code).toBe(code);
    expect(ended.stdout).toBe("");
  });
});
