import { systemClock, systemRng } from "@muster/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { EtcdCluster } from "./etcd-cluster.fixture.ts";
import { openEtcdStore } from "./etcd-open.ts";
import { readAll } from "./read-all.ts";
import type { CommitOutcome, Store } from "./store.ts";

let cluster: EtcdCluster;
beforeAll(async () => {
  cluster = await EtcdCluster.start({ addresses: ["127.0.71.41"], flags: ["--quota-backend-bytes=4194304"] });
}, 60_000);
afterAll(() => cluster?.stop());

const open = (deposing?: number) =>
  openEtcdStore({
    clock: systemClock,
    rng: systemRng,
    endpoints: cluster.endpoints,
    site: "alpha.example",
    manager: "a",
    deposing,
  });

describe("the etcd store when etcd has no space left", () => {
  it("L3: refuses with the remedy, keeps all it acknowledged, and goes on once there is space", {
    timeout: 60_000,
  }, async () => {
    const opened = await open();
    if (!opened.ok) throw new Error(opened.error.message);
    const store = opened.value;
    const acknowledged = new Map<string, number>();
    let outcome: CommitOutcome = { kind: "committed" };
    // The same keys again and again: what fills the space is their history.
    for (let count = 0; outcome.kind === "committed" && count < 1_000; count += 1) {
      const key = `vm/${count % 5}`;
      outcome = await store.commit([{ kind: "put", key, value: { count, filler: "x".repeat(30_000) } }]);
      if (outcome.kind === "committed") acknowledged.set(key, count);
    }
    expect(outcome).toMatchObject({ kind: "failed", message: /space exceeded.*compact its history.*disarm/ });
    expect(acknowledged.size).toBe(5);
    expect(await countsOf(store)).toEqual(acknowledged);
    expect(await store.commit([{ kind: "put", key: "more", value: 1 }])).toMatchObject({ kind: "failed" });
    expect(await open(store.term)).toMatchObject({ ok: false, error: { kind: "unusable", message: /disarm/ } });
    await makeSpace();
    expect(await store.commit([{ kind: "put", key: "vm/0", value: { count: -1 } }])).toEqual({ kind: "committed" });
    expect(await countsOf(store)).toEqual(acknowledged.set("vm/0", -1));
    await store.close();
  });
});

async function countsOf(store: Store): Promise<Map<string, number>> {
  const counted = z.object({ count: z.number() });
  return new Map((await readAll(store, "")).map(([key, value]) => [key, counted.parse(value).count]));
}

/** What the remedy says, as etcdctl does it. */
async function makeSpace(): Promise<void> {
  const { header } = z
    .object({ header: z.object({ revision: z.string() }) })
    .parse(await ask("kv/range", { key: "AA==" }));
  await ask("kv/compaction", { revision: header.revision, physical: true });
  await ask("maintenance/defragment", {});
  const raised = z.object({ alarms: z.array(z.object({ memberID: z.string(), alarm: z.string() })) });
  for (const { memberID, alarm } of raised.parse(await ask("maintenance/alarm", { action: "GET" })).alarms)
    await ask("maintenance/alarm", { action: "DEACTIVATE", memberID, alarm });
}

async function ask(path: string, body: object): Promise<unknown> {
  const response = await fetch(`${cluster.endpoints[0]}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
  if (response.status !== 200) throw new Error(`${path}: ${await response.text()}`);
  return response.json();
}
