/**
 * What a standby still has to do when it takes over a site of 1,000 hosts and 20,000 VMs: open the store, read it (over
 * etcd from the copy that it keeps), and load the core. In CPU time of the process, which other work on the machine hardly
 * changes; the first round is cold, the others are not.
 *
 *   npm run bench -- standby
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { createBorrower, createLender } from "@muster/broker";
import {
  createCore,
  followEtcdStore,
  openEtcdStore,
  openLevelStore,
  readAll,
  type Store,
} from "@muster/cluster-manager";
import { ScriptedHost } from "../packages/cluster-manager/src/core/scripted-host.fixture.ts";
import { POLICY, ScriptedSite } from "../packages/cluster-manager/src/core/scripted-site.fixture.ts";
import { EtcdCluster } from "../packages/cluster-manager/src/store/etcd-cluster.fixture.ts";
import { type Opening, opened } from "./site/opened.ts";

const ADDRESSES = ["127.0.71.68", "127.0.71.69", "127.0.71.70"];
const ROUNDS = 5;
/** A part of the site is played through, and its records are written so many times under other names. */
const COPIES = 25;
const HOSTS = 40;
const REQUESTS = 8;
const REQUEST_VMS = 100;
const HOST_SIZE = { vcpus: 40, memoryMiB: 65_536, diskGiB: 2_000, gpus: 0 };
const COMMIT_MAX = 1_000;

type Records = readonly (readonly [string, unknown])[];

async function main(): Promise<void> {
  const records = siteRecords();
  process.stdout.write(`${records.length} records\n\n`);
  process.stdout.write("| store | round | open ms | read ms | load ms | all, CPU ms |\n|---|---|---|---|---|---|\n");
  const folder = mkdtempSync(join(tmpdir(), "muster-standby-"));
  try {
    await fill(await opened(openLevelStore({ path: folder, manager: "a" })), records);
    for (let round = 1; round <= ROUNDS; round += 1)
      await takeOver("level", round, () => openLevelStore({ path: folder, manager: "b" }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const etcd = await EtcdCluster.start({ addresses: ADDRESSES });
  try {
    const options = { clock: systemClock, rng: systemRng, endpoints: etcd.endpoints, site: POLICY.domain };
    await fill(await opened(openEtcdStore({ ...options, manager: "a" })), records);
    for (let round = 1; round <= ROUNDS; round += 1) {
      const warm = followEtcdStore(options);
      while (warm.status.kind !== "following")
        await new Promise((resolve) => systemClock.setTimer(20, () => resolve(0)));
      await takeOver("etcd", round, () => openEtcdStore({ ...options, manager: "b", warm }));
      await warm.close();
    }
  } finally {
    await etcd.stop();
  }
}

/** Records as a site leaves them that has placed its VMs, told apart by id, name, host and request. */
function siteRecords(): Records {
  const site = new ScriptedSite({ policy: { queueMax: 10_000, vmsMax: 100_000 } });
  for (let host = 0; host < HOSTS; host += 1) site.add(new ScriptedHost(`h${host}`, HOST_SIZE));
  for (let request = 0; request < REQUESTS; request += 1) {
    site.create({ name: `v${request}`, count: REQUEST_VMS });
    site.flow();
  }
  const texts = [...site.store].map((record) => JSON.stringify(record));
  const copies = Array.from({ length: COPIES }, (_, copy) =>
    texts.map((text): [string, unknown] =>
      JSON.parse(
        text
          .replaceAll("01900000-", `019${String(copy).padStart(5, "0")}-`)
          .replace(/(["/])h(\d+)"/g, `$1h$2x${copy}"`)
          .replace(/r-v/g, `r${copy}-v`)
          .replace(/"v(\d)/g, `"c${copy}v$1`),
      ),
    ),
  );
  return copies.flat();
}

async function fill(store: Store, records: Records): Promise<void> {
  for (let from = 0; from < records.length; from += COMMIT_MAX) {
    const changes = records
      .slice(from, from + COMMIT_MAX)
      .map(([key, value]) => ({ kind: "put" as const, key, value }));
    const { kind } = await store.commit(changes);
    if (kind !== "committed") throw new Error(kind);
  }
  await store.close();
}

async function takeOver(name: string, round: number, open: () => Opening): Promise<void> {
  const spent: number[] = [];
  const timed = async <Value>(work: () => Value | Promise<Value>): Promise<Value> => {
    const before = process.cpuUsage();
    const value = await work();
    const { user, system } = process.cpuUsage(before);
    spent.push((user + system) / 1_000);
    return value;
  };
  const store = await timed(() => opened(open()));
  const records = await timed(() => readAll(store, ""));
  await timed(() => {
    const policy = { ...POLICY, queueMax: 10_000, vmsMax: 100_000 };
    createCore({ policy, lender: createLender(), borrower: createBorrower() }).load(records);
  });
  await store.close();
  const cells = [...spent, spent.reduce((sum, ms) => sum + ms, 0)].map((ms) => ms.toFixed(0));
  process.stdout.write(`| ${[name, round, ...cells].join(" | ")} |\n`);
}

await main();
process.exit(0);
