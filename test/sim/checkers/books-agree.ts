/**
 * B6: both books agree, receipt by receipt, or both show the dispute with both figures. A number never stands for two contents,
 * the stretches of a lease follow each other without gap or overlap, what was used has its receipts once the lease is over,
 * and nobody agrees to more than it measured itself. L3: nothing is said of a receipt that is not stored.
 */
import { createLedgerCheck, type LedgerRecord, receiptKey } from "@muster/broker";
import type { CoreEffect } from "@muster/cluster-manager";
import { digestOf, NO_DIGEST } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { allIn, peerIn } from "../core-words.ts";
import type { Lead } from "../lead.ts";
import { LEDGER_TIMES } from "../policy.ts";
import type { Site } from "../site.ts";
import type { Kept } from "../site-store.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";
import { Used } from "./used.ts";

/** Clocks of managers that took over jumped and drifted, and commits were slow. */
const CLOCKS_MS = 5_000;
/** Older than this and open, although both sides were well: nobody talks about it any more. */
const SETTLED_MS = 25_000;
/** Every one of so many runs has all its signatures checked again in the end. */
const VERIFIED_RUNS = 4;

export function booksAgree(world: World): Checker {
  const lent = new Map<string, LentBook>();
  const used = new Used(world);
  return {
    onCommit(lead, kept) {
      used.take(lead, kept);
      for (const one of kept) {
        if (!one.key.startsWith("receipt/")) continue;
        const record = one.after as LedgerRecord | undefined;
        claim(record !== undefined, "B6", () => `${one.key} is gone from ${lead.site.domain}`);
        if (record.side === "lent") takeLent(world, lead, one, record, bookOf(lent, lead.site.domain, record.peer));
        else takeBorrowed(world, lead, record, used);
      }
    },
    onEffect(lead, effect) {
      if (lead.term === lead.site.store.term) saidOnlyStored(lead.site, effect);
    },
    atEnd() {
      for (const site of world.sites) {
        for (const peer of site.peers) {
          const other = world.siteOf(peer);
          if (other !== undefined) compare(site, other);
        }
        if (world.swarm.deals && world.swarm.seed % VERIFIED_RUNS === 0) verify(site);
      }
      if (world.swarm.deals) checkUse(world, used, lent);
    },
  };
}

/** What a lender ever wrote for one borrower. */
type LentBook = { readonly digests: string[]; readonly upTo: Map<string, number>; readonly finals: Set<string> };

function bookOf(books: Map<string, LentBook>, lender: string, borrower: string): LentBook {
  const way = `${lender}>${borrower}`;
  const known = books.get(way) ?? { digests: [], upTo: new Map(), finals: new Set() };
  books.set(way, known);
  return known;
}

function takeLent(world: World, lead: Lead, { before }: Kept, record: LedgerRecord, book: LentBook): void {
  const { site } = lead;
  const { receipt, digest, state, verdict } = record;
  const { sequence, lease, fromMs, untilMs, final, previous } = receipt;
  const known = book.digests[sequence - 1];
  const name = `receipt ${sequence} of ${site.domain} for ${record.peer}`;
  claim(known === undefined || known === digest, "B6", () => `${name} was another one before`, lease);
  if (known === undefined) {
    claim(digestOf(receipt) === digest, "B6", () => `${name} has another digest`, lease);
    const follows = sequence === book.digests.length + 1 && previous === (book.digests.at(-1) ?? NO_DIGEST);
    claim(follows, "B6", () => `${name} does not follow ${book.digests.length} others`, lease);
    const upTo = book.upTo.get(lease) ?? 0;
    claim(fromMs === upTo, "B6", () => `${name} counts from ${fromMs}, and ${upTo} ms have their receipts`, lease);
    claim(!book.finals.has(lease), "B6", () => `${name} comes after the last one of ${lease}`, lease);
    book.digests.push(digest);
    book.upTo.set(lease, untilMs);
    if (final) book.finals.add(lease);
  }
  if (state === "open" || (before as LedgerRecord | undefined)?.state === state) return;
  world.figures[state] += 1;
  const twin = world.siteOf(record.peer)?.store.records.get(twinKey(site.domain, record)) as LedgerRecord | undefined;
  const same = JSON.stringify(twin?.verdict) === JSON.stringify(verdict);
  claim(same, "B6", () => `${name} is ${state}, and ${JSON.stringify(twin?.verdict)} there`, lease);
}

function takeBorrowed(world: World, lead: Lead, record: LedgerRecord, used: Used): void {
  const { site } = lead;
  const { receipt, digest, peer, state, lenderProof } = record;
  const { sequence, lease, untilMs } = receipt;
  const name = `receipt ${sequence} of ${peer} for ${site.domain}`;
  const twin = world.siteOf(peer)?.store.records.get(receiptKey({ side: "lent", peer: site.domain, receipt }));
  claim(
    (twin as LedgerRecord | undefined)?.digest === digest,
    "L3",
    () => `${name} is not in the lender's book`,
    lease,
  );
  const pinned = peerIn(site.store, peer);
  const known = world.siteOf(peer)?.keys.some(({ publicKey }) => publicKey === lenderProof.key) === true;
  claim(known && pinned !== undefined, "B5", () => `${name} is signed by nobody's key`, lease);
  // One whose meter runs too fast agrees to too much itself.
  if (state !== "agreed" || site.index === world.swarm.fastMeter) return;
  const measuredMs = used.knownToBorrower(peer, site.domain, lease);
  const most = measuredMs + (LEDGER_TIMES.toleranceMs ?? 0) + CLOCKS_MS;
  claim(untilMs <= most, "B6", () => `${name} is agreed to: ${untilMs} ms, and ${measuredMs} ms were known of`, lease);
}

function twinKey(lender: string, { receipt }: LedgerRecord): string {
  return receiptKey({ side: "borrowed", peer: lender, receipt });
}

function saidOnlyStored({ store, domain }: Site, effect: CoreEffect): void {
  if (effect.kind === "peer-send" && effect.request.kind === "receipts")
    for (const { receipt } of effect.request.body.receipts) {
      const stored = store.records.get(receiptKey({ side: "lent", peer: effect.peer, receipt }));
      const same = (stored as LedgerRecord | undefined)?.digest === digestOf(receipt);
      claim(same, "L3", () => `${domain} sends receipt ${receipt.sequence} to ${effect.peer}, not stored`);
    }
  if (effect.kind !== "answer" || effect.answer.kind !== "burst" || effect.answer.answer.kind !== "verdicts") return;
  for (const { verdict } of effect.answer.answer.body.verdicts) {
    const found = [...allIn(store, "receipt")].some(
      ({ side, digest, state }) => side === "borrowed" && digest === verdict.receipt && state === verdict.verdict,
    );
    claim(found, "L3", () => `${domain} says ${verdict.verdict} to receipt ${verdict.sequence}, not stored`);
  }
}

function bookIn({ store }: Site, side: "lent" | "borrowed", peer: string): LedgerRecord[] {
  const records = [...allIn(store, "receipt")].filter((one) => one.side === side && one.peer === peer);
  return records.sort((left, right) => left.receipt.sequence - right.receipt.sequence);
}

/** What one lent is what the other borrowed; where they still speak with each other, nothing stays open. */
function compare(lender: Site, borrower: Site): void {
  const lent = bookIn(lender, "lent", borrower.domain);
  const borrowed = bookIn(borrower, "borrowed", lender.domain);
  const nowMs = lender.bound?.nowMs() ?? 0;
  const talk = isInForce(lender, borrower.domain) && isInForce(borrower, lender.domain);
  for (const [index, record] of lent.entries()) {
    const { receipt, digest, state, verdict, borrowerProof, madeAtMs } = record;
    const name = `receipt ${receipt.sequence} of ${lender.domain} for ${borrower.domain}`;
    const twin = borrowed[index];
    if (twin !== undefined)
      claim(twin.digest === digest, "B6", () => `${name} differs between the two books`, receipt.lease);
    const late = nowMs - madeAtMs > SETTLED_MS;
    claim(state !== "open" || !talk || !late, "B6", () => `${name} stays open: ${record.refused ?? ""}`, receipt.lease);
    if (state === "open") continue;
    const same = twin?.state === state && JSON.stringify(twin.verdict) === JSON.stringify(verdict);
    claim(same, "B6", () => `${name} is ${state} here and ${twin?.state} there`, receipt.lease);
    // After a change of its key, the borrower says the same again under the new one.
    const otherKey = twin?.borrowerProof?.key !== borrowerProof?.key;
    claim(
      borrowerProof !== undefined && (otherKey || twin?.borrowerProof?.proof === borrowerProof.proof),
      "B6",
      () => `${name} is countersigned in two ways`,
      receipt.lease,
    );
  }
  claim(borrowed.length <= lent.length, "B6", () => `${borrower.domain} has receipts that ${lender.domain} has not`);
  const open = lent.some(({ state }) => state === "open");
  if (open || lent.length === 0 || borrowed.length !== lent.length) return;
  const here = lender.bound?.core.views.ledgerBalances().find(({ peer }) => peer === borrower.domain)?.lent;
  const there = borrower.bound?.core.views.ledgerBalances().find(({ peer }) => peer === lender.domain)?.borrowed;
  // What is still on its way to a store counts in one of them already.
  if (here?.receipts !== lent.length || there?.receipts !== lent.length || here.open > 0) return;
  const same = here.amount === there.amount && here.vcpuMs === there.vcpuMs;
  claim(same, "B6", () => `the balances differ: ${JSON.stringify(here)} and ${JSON.stringify(there)}`);
}

function isInForce({ store }: Site, peer: string): boolean {
  const state = peerIn(store, peer)?.state;
  return state === "active" || state === "suspended" || state === "draining";
}

/** What `muster ledger verify` would say of the books. */
function verify(site: Site): void {
  const check = createLedgerCheck({
    domain: site.domain,
    ownKeys: site.keys.map(({ publicKey }) => publicKey),
    keysOf: () => [],
  });
  for (const side of ["lent", "borrowed"] as const)
    for (const peer of site.peers) for (const record of bookIn(site, side, peer)) check.take(record);
  // Which of its keys the peer signed with is told by other checkers.
  const findings = check.end().findings.filter(({ fault }) => fault !== "foreign-key");
  claim(findings.length === 0, "B6", () => `${site.domain} finds in its books: ${JSON.stringify(findings[0])}`);
}

/** Every lease that ran and is over has its last receipt, and what it counts is what was known of at the lender. */
function checkUse(world: World, used: Used, books: Map<string, LentBook>): void {
  for (const { lender, borrower, lease, usedMs, overForMs } of used.atLenders()) {
    if (overForMs < SETTLED_MS) continue;
    const book = books.get(`${lender}>${borrower}`);
    claim(
      book?.finals.has(lease) === true,
      "B6",
      () => `lease ${lease} at ${lender} is over and was not counted`,
      lease,
    );
    const upTo = book.upTo.get(lease) ?? 0;
    const honest = world.siteOf(lender)?.index !== world.swarm.fastMeter;
    const fits = !honest || Math.abs(upTo - usedMs) <= CLOCKS_MS;
    claim(fits, "B6", () => `lease ${lease} at ${lender} ran ${usedMs} ms, and ${upTo} ms were counted`, lease);
  }
}
