import { createLedger, generateSiteKey, type LedgerRecord, type LendRecord } from "@muster/broker";
import { afterAll, describe, expect, it } from "vitest";
import { type Json, TestBed } from "../leadership/test-bed.fixture.ts";
import { MemoryDisk } from "../store/memory-store.ts";

const ALPHA = "alpha.test";
const BETA = "beta.test";
const KEY = generateSiteKey();
const THEIRS = generateSiteKey();

/** The record of a VM that alpha lends beta. */
function lent(index: number, stage: "leased" | "released"): LendRecord {
  const id = `01900000-0000-7000-8000-${String(index).padStart(12, "0")}`;
  const spec = { image: "debian-12", vcpus: 2, memoryMiB: 2_048, diskGiB: 10, gpus: 0, labels: {} };
  const whose = { name: "web", project: "physics", owner: "ann", spec, holdMs: 30_000, leaseMs: 60_000, hops: 1 };
  const hold = { id, digest: "0".repeat(64), term: 1, vm: id, ...whose };
  const base = { id, peer: BETA, digest: hold.digest, revision: 1, hold, leaseMs: 60_000, expiresAtMs: 0, renewals: 0 };
  return { ...base, stage, vmPhase: "running", changedAtMs: 0 };
}

/** What alpha's ledger stores for so many leases of an hour each. */
function receipts(count: number): Map<string, LedgerRecord> {
  const ledger = createLedger({ domain: ALPHA, keys: () => [KEY] });
  const stored = new Map<string, LedgerRecord>();
  let ids = 0;
  const newId = () => {
    ids += 1;
    return `01900000-0000-7000-9000-${String(ids).padStart(12, "0")}`;
  };
  for (let index = 1; index <= count; index += 1)
    for (const [stage, nowMs] of [
      ["leased", 0],
      ["released", 3_600_000],
    ] as const) {
      const env = { nowMs: 1_700_000_000_000 + nowMs, newId, peering: () => undefined };
      for (const change of ledger.step({ kind: "lent", record: lent(index, stage) }, env).changes)
        if (change.kind === "put" && "receipt" in change.value) stored.set(change.key, change.value);
    }
  return stored;
}

const records = receipts(25);
const disk = new MemoryDisk();
for (const [key, record] of records) disk.records.set(key, JSON.stringify(record));
const bed = await TestBed.start({ key: KEY, disk, peers: [{ domain: BETA, publicKey: THEIRS.publicKey }] });
afterAll(() => bed.stop());

const numbers = (body: Json): number[] =>
  (body.items as unknown as LedgerRecord[]).map(({ receipt }) => receipt.sequence);

describe("the ledger over HTTP", () => {
  it("is paged to its end without a gap or a repeat", async () => {
    const seen: number[] = [];
    let after: string | undefined;
    do {
      const { body } = await bed.get(`/v1/ledger?limit=7${after === undefined ? "" : `&after=${after}`}`);
      seen.push(...numbers(body));
      after = body.next === undefined ? undefined : String(body.next);
    } while (after !== undefined);
    expect(seen).toEqual([...records.values()].map(({ receipt }) => receipt.sequence));
    expect(seen).toHaveLength(25);
  });

  it("is filtered by peer, side and state, and balanced", async () => {
    expect(numbers((await bed.get(`/v1/ledger?peer=${BETA}&side=lent&state=open`)).body)).toHaveLength(25);
    for (const none of ["peer=gamma.test", "side=borrowed", "state=agreed", "state=refused"])
      expect(numbers((await bed.get(`/v1/ledger?${none}`)).body)).toEqual([]);
    const { body } = await bed.get("/v1/ledger/balances");
    expect(body.items).toMatchObject([{ peer: BETA, lent: { receipts: 25, open: 25 }, net: { vcpuHours: 50 } }]);
  });

  it("S1, S3: is for admins, and names a wrong filter", async () => {
    for (const path of ["", "/balances", "/verification"])
      for (const token of ["user-token", "viewer-token"])
        expect((await bed.send("GET", `/v1/ledger${path}`, { token })).status).toBe(403);
    expect(await bed.get("/v1/ledger?state=lost")).toMatchObject({
      status: 400,
      body: { faults: [{ field: "state" }] },
    });
  });

  it("B6: is verified from the store as it is written now, not from what the core has at hand", async () => {
    expect((await bed.get("/v1/ledger/verification")).body).toEqual({
      receipts: 25,
      books: 1,
      findings: [],
      truncated: false,
    });
    const [key, record] = [...records][11] ?? [];
    if (key === undefined || record === undefined) throw new Error("there is no such receipt");
    bed.disk.records.set(key, JSON.stringify({ ...record, receipt: { ...record.receipt, project: "other" } }));
    const { body } = await bed.get("/v1/ledger/verification");
    expect(body.findings).toMatchObject([
      { sequence: 12, fault: "digest" },
      { sequence: 12, fault: "lender-signature" },
    ]);
    bed.disk.records.set(key, JSON.stringify({ ...record, receipt: "torn" }));
    expect((await bed.get("/v1/ledger/verification")).body.findings).toMatchObject([
      { sequence: 12, fault: "unreadable" },
      { sequence: 13, fault: "gap" },
    ]);
  });
});
