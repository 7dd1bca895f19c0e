/** One site with ever more peers, a tenth of them silent: messages and time a decision takes. Cores in memory. */
import { percentile } from "../site/process-meter.ts";
import { Market } from "./pair.ts";

const PEERS = [3, 10, 30, 100];
const DECISIONS = 100;

export async function manyPeers(): Promise<string> {
  const lines = [
    "| peers | messages a decision, offers asked anew | with fresh offers | site time to the lease, ms, all answer | a tenth silent, first | and then | CPU ms a decision, p50 | p99 |",
    "|---|---|---|---|---|---|---|---|",
  ];
  for (const count of PEERS) lines.push(`| ${count} | ${measure(count).join(" | ")} |`);
  return lines.join("\n");
}

function measure(count: number): string[] {
  const domains = Array.from({ length: count }, (_, index) => `peer${index}.example`);
  const market = new Market(domains);
  market.pass(0);
  const stale = average(DECISIONS, () => {
    market.nowMs += 5_000;
    return messagesOf(market);
  });
  const fresh = average(DECISIONS, () => messagesOf(market));
  const cpu: number[] = [];
  for (let round = 0; round < DECISIONS; round += 1) {
    market.nowMs += 5_000;
    const startMs = performance.now();
    market.want();
    cpu.push(performance.now() - startMs);
  }
  const some = withSilent(domains);
  return [
    stale.toFixed(0),
    fresh.toFixed(0),
    siteTime(new Market(domains)).toFixed(0),
    ...[0, 1].map(() => siteTime(some).toFixed(0)),
    percentile(cpu, 0.5).toFixed(2),
    percentile(cpu, 0.99).toFixed(2),
  ];
}

function withSilent(domains: readonly string[]): Market {
  const market = new Market(domains);
  for (const domain of domains.slice(0, Math.max(1, Math.floor(domains.length / 10)))) market.silent.add(domain);
  return market;
}

/** By the clock of the site, messages taking no time. */
function siteTime(market: Market): number {
  market.nowMs += 60_000;
  const vm = market.want();
  const startMs = market.nowMs;
  while (market.borrower.exchangeOf(vm)?.stage !== "leased") {
    market.pass(1_000);
    if (market.nowMs - startMs > 60_000) throw new Error("no decision within a minute");
  }
  return market.nowMs - startMs;
}

function messagesOf(market: Market): number {
  const before = market.messages;
  const vm = market.want();
  if (market.borrower.exchangeOf(vm)?.stage !== "leased") throw new Error("the VM has no lease");
  return market.messages - before;
}

function average(rounds: number, of: () => number): number {
  let sum = 0;
  for (let round = 0; round < rounds; round += 1) sum += of();
  return sum / rounds;
}
