/** B6 on real processes: bursts, their receipts in the books of both sites, what a changed record is worth, and the exports. */
import { dirname, join } from "node:path";
import { openLevelStore } from "@muster/cluster-manager";
import type { LedgerEntryView } from "@muster/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FederationRun, muster, newStateFolder } from "./federation-run.ts";
import { until } from "./until.ts";

const SHAPE = ["--sites", "2", "--hosts", "1", "--managers", "1", "--hypervisor", "simulated", "--loopback", "57"];

let run: FederationRun;

beforeAll(async () => {
  run = await FederationRun.up(newStateFolder(), SHAPE, 90_000);
}, 120_000);

afterAll(() => run.clear(), 60_000);

const at = (site: string, ...args: string[]) => muster(["--state", run.state, "--site", site, ...args]);

async function book(site: string, side: "lent" | "borrowed"): Promise<LedgerEntryView[]> {
  const entries = await run.client(site).ledger({ side });
  if (!entries.ok) throw new Error(entries.error.message);
  return entries.value;
}

const lines = (entries: readonly LedgerEntryView[]) =>
  entries.map(({ receipt, digest, state, verdict, lenderProof, borrowerProof }) => {
    return { receipt, digest, state, verdict, lenderProof, borrowerProof };
  });

describe("the ledger of two sites", () => {
  it("B6: has the same receipts on both sides, agreed and signed by both, when the VMs are gone", async () => {
    for (const name of ["one", "two"]) {
      const create = ["vm", "create", "--name", name, "--image", "debian-12", "--burst", "only", "--wait=60s"];
      expect(await at("alpha", ...create)).toMatchObject({ code: 0 });
    }
    for (const name of ["one", "two"])
      expect(await at("alpha", "vm", "delete", name, "--yes", "--wait=60s")).toMatchObject({ code: 0 });
    await until("both receipts are settled", async () => {
      const lent = await book("beta", "lent");
      return lent.length === 2 && lent.every(({ state }) => state !== "open");
    });
    const lent = await book("beta", "lent");
    expect(lent.map(({ state, receipt }) => [receipt.sequence, receipt.final, state])).toEqual([
      [1, true, "agreed"],
      [2, true, "agreed"],
    ]);
    expect(lines(await book("alpha", "borrowed"))).toEqual(lines(lent));
  }, 120_000);

  it("is shown, balanced, verified and exported", async () => {
    expect((await at("beta", "ledger", "show", "--peer", "alpha.test")).stdout).toMatch(
      /lent\s+alpha\.test\s+1\s+agreed/,
    );
    expect((await at("alpha", "ledger", "balance")).stdout).toMatch(/beta\.test\s+0\.000\s+0\.000/);
    for (const site of ["alpha", "beta"]) {
      const verified = await at(site, "ledger", "verify");
      expect(verified).toMatchObject({ code: 0, stderr: expect.stringContaining("2 receipts in 1 books, 0 findings") });
    }
    const table = await at("beta", "ledger", "export");
    expect(table.stdout.trim().split("\n")).toHaveLength(3);
    const usage = await at("beta", "ledger", "export", "--as", "apel");
    expect(usage.stdout).toMatch(/^APEL-cloud-message: v0\.4\nVMUUID: [0-9a-f-]{36}\nSiteName: beta\.test\n/);
    expect(usage.stdout.match(/^%%$/gm)).toHaveLength(2);
  }, 90_000);

  it("is found wanting when a record was changed behind its back", async () => {
    const { state } = run;
    const config = run.site("beta").managerConfig ?? "";
    await run.interrupt();
    const opened = await openLevelStore({ path: join(dirname(config), "store"), manager: "tamper" });
    if (!opened.ok) throw new Error(opened.error.message);
    const store = opened.value;
    let changes = 0;
    for await (const [key, value] of store.scan("receipt/lent/alpha.test/")) {
      const record = value as LedgerEntryView;
      if (record.receipt.sequence !== 2) continue;
      const changed = { ...record, receipt: { ...record.receipt, untilMs: record.receipt.untilMs + 3_600_000 } };
      expect(await store.commit([{ kind: "put", key, value: changed }])).toEqual({ kind: "committed" });
      changes += 1;
    }
    expect(changes).toBe(1);
    await store.close();
    run = await FederationRun.up(state, SHAPE, 90_000);
    const verified = await at("beta", "ledger", "verify");
    expect(verified).toMatchObject({ code: 1, stderr: expect.stringContaining("2 findings") });
    expect(verified.stdout).toMatch(/lent\s+alpha\.test\s+2\s+digest/);
    expect(verified.stdout).toMatch(/lent\s+alpha\.test\s+2\s+lender-signature/);
    expect(await at("alpha", "ledger", "verify")).toMatchObject({ code: 0 });
  }, 180_000);
});
