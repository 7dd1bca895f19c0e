/** Many leases at one peer over a whole lease time: stanzas and CPU of their renewals. Cores in memory. */
import { Market } from "./pair.ts";

const COUNTS = [100, 1_000, 10_000];
const LEASE_MS = 3_600_000;

export async function renewals(): Promise<string> {
  const lines = [
    "| leases at one peer | renewals in an hour | stanzas | leases a stanza | CPU s, both sides |",
    "|---|---|---|---|---|",
  ];
  for (const count of COUNTS) lines.push(`| ${count.toLocaleString("en")} | ${measure(count).join(" | ")} |`);
  return lines.join("\n");
}

function measure(count: number): string[] {
  const market = new Market(["peer.example"]);
  market.pass(0);
  for (let made = 0; made < count; made += 1) {
    market.want();
    // A busy site: ten bursts a second.
    market.nowMs += 100;
  }
  market.asked.clear();
  const before = renewed(market);
  const endMs = market.nowMs + LEASE_MS;
  const cpu = process.cpuUsage();
  while (market.nowMs < endMs) market.pass(endMs - market.nowMs);
  const { user, system } = process.cpuUsage(cpu);
  const stanzas = market.asked.get("renew") ?? 0;
  const lost = [...market.borrower.records()].filter(({ stage }) => stage !== "leased").length;
  if (lost > 0) throw new Error(`${lost} leases were lost`);
  const done = renewed(market) - before;
  return [
    done.toLocaleString("en"),
    stanzas.toLocaleString("en"),
    (done / stanzas).toFixed(0),
    ((user + system) / 1e6).toFixed(1),
  ];
}

function renewed(market: Market): number {
  return [...market.borrower.records()].reduce((sum, { renewals: count }) => sum + count, 0);
}
