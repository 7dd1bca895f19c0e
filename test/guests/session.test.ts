/** Real guests for somebody without rights: libvirt's session, QEMU's user networking, ssh by a forwarded port. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { processesOf, processOf, tracesOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import { GuestBed, told } from "./guest-bed.ts";
import { OrdinaryUser } from "./ordinary-user.ts";
import { variantRuns } from "./variant.ts";

const runs = await variantRuns("session");
const LOOPBACK = 83;
const HOST_MANAGER = /host-manager\/src\/main\.ts/;
const START_MS = 240_000;
const STEP_MS = 150_000;

describe.runIf(runs)("real guests with an ordinary user's rights", () => {
  let bed: GuestBed;

  beforeAll(async () => {
    const one = ["--sites", "1", "--hosts", "1", "--managers", "1", "--loopback", String(LOOPBACK)];
    bed = GuestBed.begin(one, await OrdinaryUser.begin());
    await bed.run.saying(/Ctrl-C stops everything/, START_MS);
  }, START_MS + 10_000);
  afterAll(() => bed?.clear(), 60_000);

  it("a request becomes a VM that its user, and nobody else, logs in to by a forwarded port", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    expect(bed.run.said).toContain("ssh comes in by a forwarded port");
    const size = ["--image", "small", "--memory", "128MiB", "--disk", "1GiB"];
    await bed.muster("vm", "create", "--name", "web", ...size, "--ssh-key", bed.publicKey, "--wait", "90s");
    const { address, id } = JSON.parse(await bed.muster("--format", "json", "vm", "show", "web"));
    expect(address).toMatch(/^127\.0\.83\.1:\d+$/);
    expect(await bed.muster("vm", "ssh", "root@web", "--wait", "-i", bed.privateKey, "--", "hostname")).toBe("web\n");
    expect((await bed.ssh(address, "true", "stranger")).stderr).toMatch(/Permission denied/);
    expect(await bed.muster("vm", "log", "web")).toContain("@@ READY host=web");
    expect(bed.domains("alpha", "host1")).toEqual([id]);
  });

  it("H2: what is asked of it is done once, though its host manager is killed meanwhile each time", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    const shown = async () => JSON.parse(await bed.muster("--format", "json", "vm", "show", "web"));
    const amid = async (...words: readonly string[]): Promise<void> => {
      await bed.muster("vm", ...words);
      process.kill(processOf(bed.state, HOST_MANAGER).pid, "SIGKILL");
      await until(`${words.join(" ")} to be done`, async () => (await shown()).operation.state === "done", 90_000);
    };
    const { address } = await shown();
    await bed.ssh(address, "echo before > /tmp/word");
    await amid("snapshot", "create", "web", "kept");
    expect((await shown()).snapshots).toMatchObject([{ name: "kept" }]);
    await until("it to run", async () => (await shown()).phase === "running", 60_000);
    await bed.ssh(address, "echo after > /tmp/word");
    await amid("snapshot", "revert", "web", "kept", "--yes");
    await until("it to run", async () => (await shown()).phase === "running", 60_000);
    await bed.loggedIn(address);
    expect((await bed.ssh(address, "cat /tmp/word")).stdout).toBe("before\n");
    await amid("snapshot", "delete", "web", "kept");
    await amid("save", "web");
    expect(await shown()).toMatchObject({ phase: "stopped", reason: "saved" });
    await bed.muster("vm", "start", "web", "--wait", "90s");
    await bed.loggedIn(address);
    expect((await bed.ssh(address, "cat /tmp/word")).stdout).toBe("before\n");
  });

  it("its parts have no rights of root's", () => {
    for (const { pid, command } of processesOf(bed.state)) {
      const rights = /^CapEff:\s+(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
      expect(rights, command).toBe("0000000000000000");
    }
  });

  it("deleted it leaves nothing, and the federation ends without a trace", { timeout: STEP_MS }, async () => {
    told(bed);
    await bed.muster("vm", "delete", "web", "--yes", "--wait", "60s");
    expect(bed.domains("alpha", "host1")).toEqual([]);
    expect(bed.guestFiles()).toEqual([]);
    expect(bed.noted()).toEqual([]);
    expect((await bed.run.interrupt()).code).toBe(0);
    expect(tracesOf(bed.state, [LOOPBACK])).toEqual([]);
  });
});
