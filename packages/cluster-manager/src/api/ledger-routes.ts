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
  // Answered only by a leader that has read its store.
  await backend.loop.read(() => undefined);
  const { side, peer, after, limit, state } = query;
  const prefix = `${PREFIX}${side === undefined ? "" : `${side}/${peer === undefined ? "" : `${peer}/`}`}`;
  const items: LedgerEntryView[] = [];
  let last = "";
  for await (const [key, stored] of backend.scan(prefix)) {
    const position = key.slice(PREFIX.length);
    if (after !== undefined && position <= after) continue;
    const record = ledgerRecordSchema.safeParse(stored);
    // What cannot be read is for the verification to name.
    if (!record.success || !matches(record.data, peer, state)) continue;
    if (items.length === limit) return { items, next: last };
    items.push(ledgerEntryView(record.data));
    last = position;
  }
  return { items };
}

function matches(record: LedgerRecord, peer: string | undefined, state: EntriesQuery["state"]): boolean {
  if (peer !== undefined && record.peer !== peer) return false;
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
