/** B6: two sites with real cores whose books say the same, receipt by receipt, whatever happens in between. */
import { createLedgerCheck, type LedgerRecord } from "@muster/broker";
import { describe, expect, it } from "vitest";
import { ALPHA, BETA, Federation, SITE_KEYS } from "./scripted-federation.fixture.ts";
import { ANN, type ScriptedSite } from "./scripted-site.fixture.ts";

function book(site: ScriptedSite, side: "lent" | "borrowed", peer: string): LedgerRecord[] {
  return [...site.store]
    .filter(([key]) => key.startsWith(`receipt/${side}/${peer}/`))
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([, value]) => value as LedgerRecord);
}

const lines = (records: readonly LedgerRecord[]) =>
  records.map(({ receipt, digest, state, verdict }) => ({ receipt, digest, state, verdict }));

function away(both = new Federation()): Federation {
  both.alpha.create({ name: "away", burst: "only", leaseMs: 30_000 });
  both.advance(5_000);
  expect(both.alpha.vm("away").phase).toBe("running");
  return both;
}

describe("B6: the books of two sites", () => {
  it("agree receipt by receipt: one a period, a final one when the VM is gone", () => {
    const both = away();
    both.advance(65_000);
    both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "away" });
    both.advance(10_000);
    const lent = book(both.beta, "lent", ALPHA);
    const borrowed = book(both.alpha, "borrowed", BETA);
    expect(lent.map(({ state, receipt }) => [receipt.sequence, receipt.fromMs, receipt.final, state])).toEqual([
      [1, 0, false, "agreed"],
      [2, 20_000, false, "agreed"],
      [3, 40_000, false, "agreed"],
      [4, 60_000, true, "agreed"],
    ]);
    expect(lines(borrowed)).toEqual(lines(lent));
    expect(lent[0]?.receipt).toMatchObject({ lender: BETA, borrower: ALPHA, project: "default", amount: 12 });
    const [owed] = both.alpha.core.views.ledgerBalances();
    expect(owed).toMatchObject({ peer: BETA, borrowed: { receipts: 4, open: 0, disputed: 0 } });
    expect(owed?.net.amount).toBe(-(both.beta.core.views.ledgerBalances()[0]?.net.amount ?? 0));
    expect(owed?.net.amount).toBeLessThan(0);
    expect([...both.beta.store.keys(), ...both.alpha.store.keys()].filter((key) => key.startsWith("meter/"))).toEqual(
      [],
    );
  });

  it("keeps receipts open while the peer is away, shows them, and has them answered when it is back", () => {
    const both = away();
    both.cut = true;
    both.advance(100_000);
    expect(book(both.beta, "lent", ALPHA).map(({ state }) => state)).not.toContain("agreed");
    expect(both.beta.core.views.ledgerBalances()[0]?.lent.open).toBeGreaterThan(0);
    both.cut = false;
    both.advance(120_000);
    const lent = book(both.beta, "lent", ALPHA);
    expect(lent.map(({ state }) => state)).not.toContain("open");
    expect(lines(book(both.alpha, "borrowed", BETA))).toEqual(lines(lent));
  });

  it("say the same after loss, repeats and crashes of either side at any step", () => {
    for (let seed = 1; seed <= 8; seed += 1) {
      const both = new Federation(seed);
      both.loss = 0.2;
      both.duplicates = 0.2;
      both.alpha.create({ name: "one", burst: "only", leaseMs: 30_000 });
      both.alpha.create({ name: "two", burst: "only", leaseMs: 30_000 });
      both.advance(20_000);
      both.alpha.crashes = 0.03;
      both.beta.crashes = 0.03;
      both.advance(60_000);
      both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "one" });
      both.advance(60_000);
      Object.assign(both, { loss: 0, duplicates: 0 });
      both.alpha.crashes = 0;
      both.beta.crashes = 0;
      both.alpha.restart();
      both.beta.restart();
      for (const name of ["one", "two"]) both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: name });
      both.advance(700_000);
      const lent = book(both.beta, "lent", ALPHA);
      expect(lent.length).toBeGreaterThan(6);
      expect(lent.map(({ state }) => state)).not.toContain("open");
      expect(lines(book(both.alpha, "borrowed", BETA))).toEqual(lines(lent));
      expect(verified(both.alpha, ALPHA)).toEqual([]);
      expect(verified(both.beta, BETA)).toEqual([]);
    }
  });

  it("are found wanting where a stored receipt was changed, taken out, or its verdict turned", () => {
    const both = away();
    both.advance(65_000);
    expect(verified(both.beta, BETA)).toEqual([]);
    const keys = [...both.beta.store.keys()].filter((key) => key.startsWith("receipt/")).sort();
    const change = (key: string | undefined, to: (record: LedgerRecord) => unknown): string[] => {
      const copy = new Map(both.beta.store);
      const record = copy.get(key ?? "") as LedgerRecord;
      const changed = to(record);
      if (changed === undefined) copy.delete(key ?? "");
      else copy.set(key ?? "", changed);
      return verified({ store: copy }, BETA);
    };
    expect(change(keys[1], (it) => ({ ...it, receipt: { ...it.receipt, amount: 1 } }))).toEqual([
      "2 digest",
      "2 amount",
      "2 lender-signature",
    ]);
    expect(change(keys[0], () => undefined)).toEqual(["2 gap"]);
    expect(change(keys[0], (it) => ({ ...it, state: "disputed" }))).toEqual(["1 state"]);
    expect(change(keys[2], (it) => ({ ...it, verdict: { ...it.verdict, ownMs: 0 } }))).toEqual([
      "3 borrower-signature",
    ]);
  });
});

function verified({ store }: Pick<ScriptedSite, "store">, domain: typeof ALPHA | typeof BETA): string[] {
  const peer = domain === ALPHA ? BETA : ALPHA;
  const ownKeys = [SITE_KEYS[domain].publicKey];
  const check = createLedgerCheck({ domain, ownKeys, keysOf: () => [SITE_KEYS[peer].publicKey] });
  const records = [...store].filter(([key]) => key.startsWith("receipt/")).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [, value] of records) check.take(value as LedgerRecord);
  return check.end().findings.map(({ sequence, fault }) => `${sequence} ${fault}`);
}
