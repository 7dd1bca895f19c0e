import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Frame } from "../frame/frame.ts";
import { Libvirt } from "../libvirt.ts";
import type { Procedure } from "../table/procedure.ts";
import { procedureTable as table } from "../table/procedures.ts";
import { rejection } from "../testing/eventually.ts";
import { type FakeDaemon, type Peer, startFakeDaemon } from "../testing/fake-daemon.ts";
import { decode } from "../xdr/decode.ts";
import type { MigrationPlan } from "./migration.ts";
import { safeNumber, uuidInXml } from "./wire.ts";

const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const ref = { uuid };
const wire = { name: uuid, uuid, id: -1 };
const rows = Object.values<Procedure<unknown, unknown>>(table);

/** What the test driver cannot do is shown against a daemon that answers as told and keeps what it was asked. */
let daemon: FakeDaemon;
let libvirt: Libvirt;
let asked: { [name: string]: unknown; readonly nodeGetMemoryStats?: unknown }[] = [];
const answers = new Map<string, unknown>();

function script(frame: Frame, peer: Peer): void {
  const row = rows.find(({ number, program }) => number === frame.procedure && program === frame.program);
  if (row === undefined) return;
  asked.push({ [row.name]: decode(row.args, frame.body) });
  peer.reply(frame, row, answers.get(row.name) ?? {});
}

beforeAll(async () => {
  daemon = await startFakeDaemon(script);
  libvirt = await Libvirt.open({ socketPath: daemon.socketPath, keepalive: { intervalMs: 0, count: 0 } });
});

beforeEach(() => {
  asked = [];
});

afterAll(async () => {
  await libvirt.close();
  await daemon.stop();
});

describe("options", () => {
  it("become libvirt's flags", async () => {
    const { domains, saves, snapshots, metadata } = libvirt;
    answers.set("domainCreateWithFlags", { domain: wire });
    answers.set("domainSnapshotCreateXml", { snapshot: { name: "s", domain: wire } });
    answers.set("domainGetMetadata", { metadata: "" });
    await domains.start(ref, { paused: true, forceBoot: true });
    await domains.destroy(ref, { graceful: true });
    await domains.undefine(ref, { managedSave: true, snapshotsMetadata: true, nvram: true });
    await domains.undefine(ref, { keepNvram: true, checkpointsMetadata: true });
    await saves.restore("/f", { paused: true });
    await saves.managedSave(ref, { running: true });
    await snapshots.create(ref, "<x/>", { diskOnly: true, quiesce: true, atomic: true, halt: true, live: true });
    await snapshots.revert({ name: "s", domain: wire }, { running: true, force: true });
    await metadata.get(ref, "urn:x", { live: true, config: true });
    const flags = asked.map((call) => Object.values(call).map((args) => (args as { flags: number }).flags)[0]);
    expect(flags).toEqual([9, 1, 7, 24, 4, 2, 0b1_1101_1000, 5, 3]);
  });

  it("of statistics become groups and libvirt's flag for not waiting, in the highest bits", async () => {
    answers.set("connectGetAllDomainStats", { records: [] });
    await libvirt.resources.stats({ groups: ["cpu", "balloon", "vm"], domains: [ref] });
    await libvirt.resources.stats({ noWait: false });
    expect(asked).toEqual([
      { connectGetAllDomainStats: { domains: [wire], stats: 0b100_0000_0110, flags: 2 ** 29 } },
      { connectGetAllDomainStats: { domains: [], stats: 0, flags: 0 } },
    ]);
  });
});

describe("answers the test driver never gives", () => {
  it("of statistics keep 64 bits, text and truth", async () => {
    const params = [
      { field: "cpu.time", value: { type: 4, value: 2n ** 63n } },
      { field: "net.0.name", value: { type: 7, value: "vnet0" } },
      { field: "vcpu.0.halted", value: { type: 6, value: 1 } },
      { field: "load", value: { type: 5, value: 0.5 } },
    ];
    answers.set("connectGetAllDomainStats", { records: [{ domain: wire, params }] });
    const [record] = await libvirt.resources.stats();
    expect(record?.stats).toEqual({ "cpu.time": 2n ** 63n, "net.0.name": "vnet0", "vcpu.0.halted": true, load: 0.5 });
  });

  it("of DHCP leases and addresses name the family", async () => {
    const lease = { interface: "virbr0", expiresAtS: 1_700_000_000n, type: 1, mac: "52:54:00:00:00:01", iaid: null };
    const rest = { address: "fd00::2", prefix: 64, hostname: "vm", clientId: null };
    answers.set("networkGetDhcpLeases", { leases: [{ ...lease, ...rest }], count: 1 });
    const network = { name: "default", uuid };
    const { type: _, iaid: __, ...plain } = { ...lease, ...rest };
    expect(await libvirt.networks.dhcpLeases(network)).toEqual([{ ...plain, family: "ipv6" }]);
    const addresses = [{ type: 0, address: "10.0.0.2", prefix: 24 }];
    answers.set("domainInterfaceAddresses", { interfaces: [{ name: "eth0", mac: null, addresses }] });
    expect(await libvirt.resources.interfaceAddresses(ref, "agent")).toEqual([
      { name: "eth0", mac: null, addresses: [{ family: "ipv4", address: "10.0.0.2", prefix: 24 }] },
    ]);
    expect(asked.at(-1)).toEqual({ domainInterfaceAddresses: { domain: wire, source: 1, flags: 0 } });
  });

  it("of the guest agent come through QEMU's own program", async () => {
    answers.set("qemuDomainAgentCommand", { result: '{"return":{}}' });
    expect(await libvirt.resources.agentCommand(ref, '{"execute":"guest-ping"}')).toBe('{"return":{}}');
    expect(daemon.received.at(-1)?.program).toBe(0x2000_8087);
  });

  it("that no memory can have are refused, not rounded", async () => {
    const info = { state: 1, maxMemoryKiB: 2n ** 60n, memoryKiB: 1n, vcpus: 1, cpuTimeNs: 0n };
    answers.set("domainGetInfo", info);
    expect(await rejection(libvirt.domains.info(ref))).toMatchObject({ kind: "protocol-violation" });
    expect(safeNumber(2n ** 53n - 1n, "x")).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("of memory figures are asked for in the number the daemon names", async () => {
    answers.set("nodeGetMemoryStats", { params: [{ field: "total", value: 9n }], count: 1 });
    expect(await libvirt.node.memoryStatsKiB()).toEqual({ total: 9n });
    expect(asked.map((call) => call.nodeGetMemoryStats)).toEqual([
      { maxParams: 0, cell: -1, flags: 0 },
      { maxParams: 1, cell: -1, flags: 0 },
    ]);
  });
});

describe("migration", () => {
  it("hands each step's cookie on, with the plan as parameters and flags", async () => {
    const { migration } = libvirt;
    const cookie = (value: number) => Uint8Array.of(value, value);
    answers.set("domainMigrateBegin3Params", { cookieOut: cookie(1), xml: "<domain/>" });
    answers.set("domainMigratePrepare3Params", { cookieOut: cookie(2), uriOut: null });
    answers.set("domainMigratePerform3Params", { cookieOut: cookie(3) });
    answers.set("domainMigrateFinish3Params", { domain: { ...wire, name: "vm" }, cookieOut: cookie(4) });
    const plan: MigrationPlan = { flags: ["live", "unsafe"], uri: "tcp://beta.example:49152", bandwidthMiBps: 100n };
    const begun = await migration.begin(ref, plan);
    const prepared = await migration.prepare(begun.xml, plan, begun.cookie);
    expect(prepared.uri).toBe(plan.uri);
    const performed = await migration.perform(ref, plan, prepared.cookie, { timeoutMs: Number.POSITIVE_INFINITY });
    const finished = await migration.finish(plan, performed.cookie, false);
    expect(finished.domain.name).toBe("vm");
    await migration.confirm(ref, plan, finished.cookie, false);
    const uri = { field: "migrate_uri", value: { type: 7, value: plan.uri } };
    const xml = { field: "destination_xml", value: { type: 7, value: "<domain/>" } };
    const bandwidth = { field: "bandwidth", value: { type: 4, value: 100n } };
    const flags = 0x201;
    expect(asked).toEqual([
      { domainMigrateBegin3Params: { domain: wire, params: [uri, bandwidth], flags } },
      { domainMigratePrepare3Params: { params: [uri, xml, bandwidth], cookieIn: cookie(1), flags } },
      {
        domainMigratePerform3Params: {
          domain: wire,
          destinationUri: null,
          params: [uri, bandwidth],
          cookieIn: cookie(2),
          flags,
        },
      },
      { domainMigrateFinish3Params: { params: [uri, bandwidth], cookieIn: cookie(3), flags, cancelled: 0 } },
      {
        domainMigrateConfirm3Params: {
          domain: wire,
          params: [uri, bandwidth],
          cookieIn: cookie(4),
          flags,
          cancelled: 0,
        },
      },
    ]);
  });

  it("is followed and ended out of the domain's order", async () => {
    const params = [{ field: "memory_remaining", value: { type: 4, value: 5n } }];
    answers.set("domainGetJobStats", { type: 2, params });
    expect(await libvirt.migration.jobStats(ref)).toEqual({ type: 2, stats: { memory_remaining: 5n } });
    await libvirt.migration.abortJob(ref);
    expect(asked.at(-1)).toEqual({ domainAbortJob: { domain: wire } });
  });
});

describe("the UUID in a description", () => {
  it.each([
    [`<domain><name>a</name><uuid>${uuid}</uuid></domain>`, uuid],
    [`<domain><uuid>\n ${uuid} </uuid></domain>`, uuid],
    ["<domain><name>a</name></domain>", undefined],
    ["<domain><uuid>42</uuid></domain>", undefined],
  ])("is found where there is one: %s", (xml, found) => {
    expect(uuidInXml(xml)).toBe(found);
  });
});
