import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startEmbeddedDaemon } from "../daemon/embedded-daemon.ts";
import type { PrivateDaemon } from "../daemon/private-daemon.ts";
import type { DomainLifecycle } from "../facade/domains.ts";
import { Libvirt } from "../libvirt.ts";
import { procedureTable as table } from "../table/procedures.ts";
import { eventually, rejection } from "../testing/eventually.ts";
import { startPrivateDaemon, testDomainXml } from "../testing/private-daemon.ts";

const reconnect = { minDelayMs: 5, maxDelayMs: 20 };
const uuid = "0b0fd3a5-3f07-4c8c-8a3f-6f3a64c1f1aa";

let daemon: PrivateDaemon & { readonly stateDir: string };
const clients: Libvirt[] = [];

beforeEach(async () => {
  daemon = await startPrivateDaemon();
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close(100)));
  await daemon.stop();
});

async function open(options: Partial<Parameters<typeof Libvirt.open>[0]> = {}): Promise<Libvirt> {
  const { socketPath, uri } = daemon;
  const client = await Libvirt.open({ socketPath, uri, reconnect, openTimeoutMs: 3_000, ...options });
  clients.push(client);
  return client;
}

describe("a daemon that is killed", () => {
  it("fails calls with ConnectionLost, and is used again when it is back: events registered, relist told", async () => {
    const client = await open();
    const seen: DomainLifecycle[] = [];
    await client.domains.onLifecycle((change) => seen.push(change));
    const roles: string[] = [];
    client.on("disconnected", (role) => roles.push(role));
    const relist = once(client, "relist");

    process.kill(daemon.pid, "SIGKILL");
    await daemon.exited;
    await eventually("all three losses", () => roles.length === 3);
    expect(roles.sort()).toEqual(["events", "jobs", "reads"]);
    expect(client.isConnected).toBe(false);
    expect(await rejection(client.domains.list())).toMatchObject({ kind: "connection-lost", sent: false });
    expect(await rejection(client.domains.define(testDomainXml("vm", uuid)))).toMatchObject({ sent: false });

    const again = await startEmbeddedDaemon({ stateDir: daemon.stateDir });
    try {
      await relist;
      expect(client.isConnected).toBe(true);
      expect(seen).toEqual([]);
      const domain = await client.domains.define(testDomainXml("vm", uuid));
      await eventually("an event after the reconnect", () => seen.length > 0);
      expect(seen).toEqual([{ domain, event: "defined", detail: "added" }]);
    } finally {
      await client.close(100);
      await again.stop();
    }
  });

  it("is not looked for any longer once the client is closed", async () => {
    const client = await open();
    const lost = once(client, "disconnected");
    process.kill(daemon.pid, "SIGKILL");
    await lost;
    await client.close();
    expect(await rejection(client.node.info())).toMatchObject({
      kind: "connection-lost",
      message: "the client was closed",
    });
  });
});

describe("a daemon that hangs", () => {
  it("costs a call its deadline, no more", async () => {
    const client = await open({ keepalive: { intervalMs: 0, count: 0 } });
    process.kill(daemon.pid, "SIGSTOP");
    const start = performance.now();
    const fault = await rejection(client.node.info({ timeoutMs: 100 }));
    expect(fault).toMatchObject({ kind: "timeout", sent: true, procedure: "nodeGetInfo" });
    expect(performance.now() - start).toBeLessThan(2_000);
    process.kill(daemon.pid, "SIGCONT");
    expect((await client.node.info()).cpus).toBe(16);
    expect(client.isConnected).toBe(true);
  });

  it("costs an opening its deadline, as its socket still accepts", async () => {
    process.kill(daemon.pid, "SIGSTOP");
    const fault = await rejection(open({ openTimeoutMs: 100 }));
    expect(fault).toMatchObject({ kind: "timeout", procedure: "authList" });
    process.kill(daemon.pid, "SIGCONT");
    expect((await (await open()).node.info()).cpus).toBe(16);
  });

  it("is noticed by keepalive, and taken up again when it goes on, with its domains", async () => {
    const client = await open({ keepalive: { intervalMs: 100, count: 3 } });
    await client.domains.define(testDomainXml("vm", uuid));
    const lost = once(client, "disconnected");
    const relist = once(client, "relist");
    process.kill(daemon.pid, "SIGSTOP");
    const call = rejection(client.domains.list({}, { timeoutMs: 60_000 }));
    await lost;
    expect(await call).toMatchObject({ kind: "connection-lost", message: "3 pings went unanswered", sent: true });
    process.kill(daemon.pid, "SIGCONT");
    await relist;
    expect(await client.domains.lookupByUuid(uuid)).toMatchObject({ name: "vm" });
  });
});

describe("many calls at once", () => {
  it("are all answered, though the daemon takes few at a time", async () => {
    const client = await open();
    const infos = await Promise.all(Array.from({ length: 500 }, () => client.node.info()));
    expect(new Set(infos.map((info) => info.cpus))).toEqual(new Set([16]));
  });

  it("on one domain are done in the order they were made", async () => {
    const client = await open();
    const domain = await client.domains.define(testDomainXml("vm", uuid));
    await client.domains.start(domain);
    const seen: string[] = [];
    await client.domains.onLifecycle(({ event }) => seen.push(event), domain);
    const expected = Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? "suspended" : "resumed"));
    await Promise.all(
      expected.map((event) => (event === "suspended" ? client.domains.suspend(domain) : client.domains.resume(domain))),
    );
    await eventually("every event", () => seen.length === expected.length);
    expect(seen).toEqual(expected);
  });

  it("on one domain wait for one that timed out, as the daemon may still be at it; an urgent one does not", async () => {
    const client = await open({ keepalive: { intervalMs: 0, count: 0 } });
    const domain = await client.domains.define(testDomainXml("vm", uuid));
    await client.domains.start(domain);
    process.kill(daemon.pid, "SIGSTOP");
    expect(await rejection(client.domains.suspend(domain, { timeoutMs: 30 }))).toMatchObject({ sent: true });
    expect(await rejection(client.domains.resume(domain, { timeoutMs: 30 }))).toMatchObject({ sent: false });
    const urgent = await rejection(client.domains.destroy(domain, { urgent: true, timeoutMs: 30 }));
    expect(urgent).toMatchObject({ kind: "timeout", sent: true });
    process.kill(daemon.pid, "SIGCONT");
    await client.domains.undefine(domain);
    expect(await client.domains.lookupByUuid(uuid)).toBeUndefined();
  });
});

describe("procedures the daemon does not know", () => {
  it("are refused by libvirt and harm nothing", async () => {
    const client = await open();
    const unknown = { ...table.nodeGetInfo, name: "nothing", number: 9_999 };
    const fault = await rejection(client.call(unknown, {}));
    expect(fault).toMatchObject({ kind: "libvirt", code: 39, message: "unknown procedure: 9999" });
    expect((await client.node.info()).cpus).toBe(16);
  });
});
