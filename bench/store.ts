/**
 * What the two stores take and how fast: commits of one record one after the other, groups as a busy leader makes them,
 * opening (which raises the term), and reading everything; etcd as three members on this machine's disk.
 *
 *   npm run bench -- store
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import {
  type EtcdStoreOptions,
  followEtcdStore,
  openEtcdStore,
  openLevelStore,
  readAll,
  type Store,
} from "@muster/cluster-manager";
import { EtcdCluster } from "../packages/cluster-manager/src/store/etcd-cluster.fixture.ts";
import { type Opening, opened } from "./site/opened.ts";

const ADDRESSES = ["127.0.71.61", "127.0.71.62", "127.0.71.63"];
const MEASURE_MS = 2_000;
const OPENINGS = 40;
const RECORDS = 20_000;
/** About the size of a stored VM. */
const FILLER = "x".repeat(460);

type Opener = (term: number | undefined) => Opening;

function row(store: string, what: string, times: readonly number[], records: number): void {
  const sorted = times.toSorted((one, other) => one - other);
  const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(2);
  const totalS = times.reduce((sum, time) => sum + time, 0) / 1_000;
  const rate = records > 0 ? Math.round((records * times.length) / totalS) : "";
  process.stdout.write(`| ${store} | ${what} | ${times.length} | ${at(0.5)} | ${at(0.95)} | ${at(1)} | ${rate} |\n`);
}

async function timed(times: number[], work: () => Promise<unknown>): Promise<void> {
  const startMs = performance.now();
  await work();
  times.push(performance.now() - startMs);
}

async function commits(name: string, store: Store, size: number): Promise<void> {
  const times: number[] = [];
  const untilMs = performance.now() + MEASURE_MS;
  for (let round = 0; performance.now() < untilMs; round += 1) {
    const changes = Array.from({ length: size }, (_, index) => ({
      kind: "put" as const,
      key: `vm/${index}`,
      value: { round, filler: FILLER },
    }));
    await timed(times, async () => {
      const { kind } = await store.commit(changes);
      if (kind !== "committed") throw new Error(`${name}: ${kind}`);
    });
  }
  row(name, `commit of ${size}`, times, size);
}

async function fill(store: Store): Promise<void> {
  for (let from = 0; from < RECORDS; from += 1_000) {
    const { kind } = await store.commit(
      Array.from({ length: 1_000 }, (_, index) => ({
        kind: "put" as const,
        key: `vm/${from + index}`,
        value: { round: 0, filler: FILLER },
      })),
    );
    if (kind !== "committed") throw new Error(kind);
  }
}

async function measure(name: string, open: Opener): Promise<void> {
  let store = await opened(open(undefined));
  for (const size of [1, 16, 100, 1_000]) await commits(name, store, size);
  const openings: number[] = [];
  for (let round = 0; round < OPENINGS; round += 1) {
    const { term } = store;
    if (name === "level") await store.close();
    const before = store;
    await timed(openings, async () => {
      store = await opened(open(term));
    });
    await before.close();
  }
  row(name, "open, raising the term", openings, 0);
  await fill(store);
  const reads: number[] = [];
  for (let round = 0; round < 3; round += 1) await timed(reads, () => readAll(store, ""));
  row(name, `read ${RECORDS} records`, reads, RECORDS);
  await store.close();
}

/** Taking over and having all records, from the copy that a standby keeps. */
async function measureWarm(options: EtcdStoreOptions): Promise<void> {
  const times: number[] = [];
  let store = await opened(openEtcdStore(options));
  for (let round = 0; round < 10; round += 1) {
    const follower = followEtcdStore(options);
    await follower.recordsAt(1, 10_000, "none/");
    const before = store;
    await timed(times, async () => {
      store = await opened(openEtcdStore({ ...options, deposing: before.term, warm: follower }));
      if ((await readAll(store, "")).length < RECORDS) throw new Error("records are missing");
    });
    await before.close();
    await follower.close();
  }
  row("etcd", `open and read ${RECORDS} records, warm`, times, 0);
  await store.close();
}

const folder = mkdtempSync(join(tmpdir(), "muster-bench-"));
const cluster = await EtcdCluster.start({ addresses: ADDRESSES });
const options: EtcdStoreOptions = {
  clock: systemClock,
  rng: systemRng,
  endpoints: cluster.endpoints,
  site: "bench.example",
  manager: "a",
};
try {
  process.stdout.write(
    "| store | what | n | median ms | p95 ms | worst ms | records/s |\n|---|---|---|---|---|---|---|\n",
  );
  await measure("level", () => openLevelStore({ path: join(folder, "level"), manager: "a" }));
  await measure("etcd", (deposing) => openEtcdStore({ ...options, deposing }));
  await measureWarm(options);
} finally {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
}
