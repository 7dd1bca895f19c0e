import { describeFaults } from "@muster/base";
import { createLedgerCheck, type LedgerRecord } from "@muster/broker";
import {
  type LedgerEntryView,
  ledgerBalanceSchema,
  ledgerEntrySchema,
  ledgerSideSchema,
  ledgerStateSchema,
  ledgerVerificationSchema,
  type Page,
  pageOf,
  siteDomainSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { Actor } from "../core/event.ts";
import { ledgerRecordSchema } from "../ledger/ledger-record-schema.ts";
import { ledgerEntryView } from "../ledger/ledger-view.ts";
import type { Backend } from "./backend.ts";
import { adminRefusal } from "./permission.ts";
import { page, pageQuery, type Reply, type Route, refuse, route, value } from "./route.ts";

const PREFIX = "receipt/";

/** The ledger is read from the store and not from what the core has at hand: all of it, as it is written. Admins only. */
export function ledgerRoutes(backend: Backend): Route[] {
  return [entriesRoute(backend), balancesRoute(backend), verificationRoute(backend)];
}

const entriesQuery = pageQuery.extend({
  after: z.string().max(320).optional(),
  peer: siteDomainSchema.optional(),
  side: ledgerSideSchema.optional(),
  /** `refused`: those that are open because the borrower refused them. */
  state: z.enum([...ledgerStateSchema.options, "refused"]).optional(),
});
type EntriesQuery = z.output<typeof entriesQuery>;

function entriesRoute(backend: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/ledger",
    id: "listLedger",
    summary: "Receipts by side (borrowed, lent), peer and sequence, with verdicts and signatures. Admins only.",
    query: entriesQuery,
    answer: pageOf(ledgerEntrySchema),
    handle: ({ actor, query }) => asAdmin(actor, async () => value(await readPage(backend, query))),
  });
}

function balancesRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/ledger/balances",
    id: "listLedgerBalances",
    summary: "What was lent to and borrowed from each peer, by domain. Admins only.",
    query: pageQuery,
    answer: pageOf(ledgerBalanceSchema),
    handle: ({ actor, query }) =>
      asAdmin(actor, () => loop.read((views) => value(page(views.ledgerBalances(), ({ peer }) => peer, query)))),
  });
}

function verificationRoute(backend: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/ledger/verification",
    id: "verifyLedger",
    summary: "Checks all receipts in the store again: gaps, chain, amounts, signatures, verdicts. Admins only.",
    answer: ledgerVerificationSchema,
    handle: ({ actor }) => asAdmin(actor, async () => value(await verify(backend))),
  });
}

async function asAdmin(actor: Actor, answer: () => Promise<Reply>): Promise<Reply> {
  const forbidden = adminRefusal(actor);
  return forbidden === undefined ? answer() : refuse(forbidden);
}

async function readPage(backend: Backend, query: EntriesQuery): Promise<Page<LedgerEntryView>> {
  const { side, peer, after = "", limit, state } = query;
  // Answered only by a leader that has read its store.
  const peers = await backend.loop.read((views) => views.ledgerBalances().map((balance) => balance.peer));
  const books = ledgerSideSchema.options
    .filter((one) => side === undefined || one === side)
    .flatMap((one) => peers.filter((other) => peer === undefined || other === peer).map((other) => `${one}/${other}/`))
    .sort();
  const items: LedgerEntryView[] = [];
  let last = "";
  for (const prefix of books.flatMap((book) => prefixesAfter(book, after)))
    for await (const [key, stored] of backend.scan(PREFIX + prefix)) {
      const record = ledgerRecordSchema.safeParse(stored);
      // What cannot be read is for the verification to name.
      if (!record.success || !matches(record.data, state)) continue;
      if (items.length === limit) return { items, next: last };
      items.push(ledgerEntryView(record.data));
      last = key.slice(PREFIX.length);
    }
  return { items };
}

/** What is left of a book after this position, as prefixes in order: nothing that was read already is read again. */
function prefixesAfter(book: string, after: string): string[] {
  if (!after.startsWith(book)) return book > after ? [book] : [];
  const digits = after.slice(book.length);
  if (!/^\d{16}$/.test(digits)) return [book];
  return [...digits].reverse().flatMap((digit, fromEnd) => {
    const head = digits.slice(0, digits.length - 1 - fromEnd);
    return Array.from({ length: 9 - Number(digit) }, (_, more) => `${book}${head}${Number(digit) + 1 + more}`);
  });
}

function matches(record: LedgerRecord, state: EntriesQuery["state"]): boolean {
  if (state === "refused") return record.state === "open" && record.refused !== undefined;
  return state === undefined || record.state === state;
}

async function verify(backend: Backend): Promise<unknown> {
  const keysOf = await backend.loop.read((views, nowMs) => (peer: string): readonly string[] => {
    const pinned = views.peering(peer, nowMs) ?? views.pinnedPeer(peer, nowMs);
    return [pinned?.publicKey, pinned?.earlierKey].filter((key) => key !== undefined);
  });
  const check = createLedgerCheck({ domain: backend.site, ownKeys: backend.ownKeys(), keysOf });
  for await (const [key, stored] of backend.scan(PREFIX)) {
    const record = ledgerRecordSchema.safeParse(stored);
    if (record.success) check.take(record.data);
    else
      check.unreadable(
        key,
        describeFaults(record.error.issues.map(({ path, message }) => ({ field: path.join("."), message }))),
      );
  }
  return check.end();
}
