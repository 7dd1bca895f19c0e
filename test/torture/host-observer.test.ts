import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Libvirt, type PrivateDaemon, startEmbeddedDaemon } from "node-libvirt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../system/until.ts";
import { checkHistory } from "./check-history.ts";
import type { History } from "./history.ts";
import { HostObserver } from "./host-observer.ts";

const VM = "01900000-0000-7000-8000-0000000000aa";
const xml = (vcpus: number): string =>
  `<domain type="test"><name>${VM}</name><uuid>${VM}</uuid>` +
  `<metadata><vm xmlns="urn:muster:vm:1" vm="${VM}" attempt="3"/></metadata>` +
  `<memory unit="MiB">64</memory><vcpu>${vcpus}</vcpu><os><type>hvm</type></os></domain>`;

let folder: string;
let hosts: readonly Host[];

type Host = { readonly daemon: PrivateDaemon; readonly libvirt: Libvirt; readonly observer: HostObserver };

async function hostNamed(host: string): Promise<Host> {
  const daemon = await startEmbeddedDaemon({ stateDir: join(folder, host) });
  const { socketPath, uri } = daemon;
  const observer = new HostObserver({ site: "alpha", host, socketPath, vcpus: 4, memoryMiB: 1_024 });
  observer.start();
  return { daemon, libvirt: await Libvirt.open({ socketPath, uri }), observer };
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "mo"));
  hosts = await Promise.all(["host1", "host2"].map(hostNamed));
});

afterEach(async () => {
  await Promise.all(
    hosts.map(async ({ daemon, libvirt, observer }) => {
      await observer.stop();
      await libvirt.close();
      await daemon.stop();
    }),
  );
  rmSync(folder, { recursive: true, force: true });
});

const historyOf = (): History => ({
  requests: [],
  deletes: [],
  runs: hosts.flatMap(({ observer }) => observer.runs),
  overcommitted: hosts.flatMap(({ observer }) => observer.overcommitted),
  waits: [],
  hosts: [],
  sites: [],
});
const [first, second] = [(): Host => at(0), (): Host => at(1)];
function at(index: number): Host {
  const host = hosts[index];
  if (host === undefined) throw new Error("two hosts were started");
  return host;
}

describe("HostObserver", () => {
  it("P1: sees a domain that runs on two hosts at once, under its attempt", async () => {
    for (const { libvirt } of hosts) await libvirt.domains.create(xml(1));
    await until("both are seen", () => historyOf().runs.length === 2);
    expect(historyOf().runs.map(({ attempt }) => attempt)).toEqual([3, 3]);
    await until("for a while", () => checkHistory(historyOf()).some(({ claim }) => claim === "P1"));
  });

  it("takes a domain that moved for what it is, and each start for a run of its own", async () => {
    await first().libvirt.domains.create(xml(1));
    await until("it runs", () => first().observer.runs.length === 1);
    await first().libvirt.domains.destroy({ uuid: VM });
    await second().libvirt.domains.create(xml(1));
    await until("it runs there", () => second().observer.runs.length === 1);
    await second().libvirt.domains.destroy({ uuid: VM });
    await second().libvirt.domains.create(xml(1));
    await until("it runs again", () => second().observer.runs.length === 2);
    expect(checkHistory(historyOf()).filter(({ claim }) => claim === "P1")).toEqual([]);
    expect(await second().observer.domains()).toEqual([{ vm: VM, attempt: 3 }]);
  });

  it("P2: sees a host that was given more than it has", async () => {
    await first().libvirt.domains.create(xml(5));
    await until("it is seen", () => first().observer.overcommitted.length > 0);
    expect(checkHistory(historyOf())).toContainEqual({
      claim: "P2",
      what: "alpha/host1 ran 1 domains with 5 vCPUs and 64 MiB in all",
    });
  });
});
