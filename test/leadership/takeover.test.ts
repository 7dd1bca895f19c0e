import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runningDomains } from "../system/domains.ts";
import { until } from "../system/until.ts";
import { ManagedSite } from "./managers.ts";

let managed: ManagedSite;
beforeAll(async () => {
  managed = await ManagedSite.start(81);
});
afterAll(async () => {
  await managed.stop();
});

describe("two managers over one store", () => {
  it("L3: the leader is killed: the standby leads by the next term, every request has one answer and one outcome", async () => {
    const before = await managed.settled();
    await managed.through("killed", () => managed.site.managers.get(before.leader)?.crash(500));
    const after = await managed.settled();
    expect(after).toEqual({ leader: before.standby, standby: before.leader, term: before.term + 1 });
  });

  it("L3: the leader hangs: the standby ends its process, and leads", async () => {
    const before = await managed.settled();
    const hung = managed.pid(before.leader);
    await managed.through("hung", () => managed.site.managers.get(before.leader)?.hang(500));
    expect(existsSync(`/proc/${hung}`)).toBe(false);
    const after = await managed.settled();
    expect(after).toEqual({ leader: before.standby, standby: before.leader, term: before.term + 1 });
  });

  it("the leader steps down: the standby leads, and the one before waits in the same process", async () => {
    const before = await managed.settled();
    const pid = managed.pid(before.leader);
    await managed.through("handed", async () => expect((await managed.site.client.stepDown()).ok).toBe(true));
    const after = await managed.settled();
    expect(after).toEqual({ leader: before.standby, standby: before.leader, term: before.term + 1 });
    expect(managed.pid(before.leader)).toBe(pid);
  });

  it("the leader is told to end: it hands over first", async () => {
    const before = await managed.settled();
    await managed.through("ended", () => process.kill(managed.pid(before.leader), "SIGTERM"));
    expect(await managed.settled()).toMatchObject({ leader: before.standby, term: before.term + 1 });
  });

  it("L2: a pause shorter than the limit changes nothing, nor does one of both managers, however long", async () => {
    const before = await managed.settled();
    const leader = managed.pid(before.leader);
    process.kill(leader, "SIGSTOP");
    await pause(600);
    process.kill(leader, "SIGCONT");
    expect(await managed.settled()).toEqual(before);
    const both = [leader, managed.pid(before.standby)];
    for (const pid of both) process.kill(pid, "SIGSTOP");
    await pause(4_000);
    for (const pid of both) process.kill(pid, "SIGCONT");
    await managed.through("paused", () => {});
    expect(await managed.settled()).toEqual(before);
  });

  it("suspects nobody while the XMPP server hangs or is away: the same manager leads on", async () => {
    const before = await managed.settled();
    const server = managed.site.serverPid ?? 0;
    process.kill(server, "SIGSTOP");
    await pause(2_500);
    process.kill(server, "SIGCONT");
    expect(await managed.settled()).toEqual(before);
    process.kill(server, "SIGKILL");
    await until("another server", () => managed.site.serverPid !== undefined && managed.site.serverPid !== server);
    expect(await managed.settled()).toEqual(before);
  });

  it("P1: what ends on a host while nobody leads is known to the next leader, and runs again, once", async () => {
    const [id = ""] = await managed.load("lonely", 1);
    await managed.allRunOnce("lonely", [id]);
    for (const manager of managed.site.managers.values()) manager.crash(3_000);
    const [host = ""] = (await runningDomains(managed.state, "alpha")).get(id) ?? [];
    const socket = join(managed.state, "alpha", host, "v", "run", "libvirt-sock");
    await promisify(execFile)("virsh", ["-q", "-c", `test+unix:///default?socket=${socket}`, "destroy", id]);
    await until("it is gone", async () => !(await runningDomains(managed.state, "alpha")).has(id));
    await managed.settled();
    await managed.allRunOnce("lonely", [id]);
  });
});
