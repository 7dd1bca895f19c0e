/**
 * Three sites whose users are busy at different times of the day, with and without bursting: how much moves, how long VMs wait,
 * and who helps whom. Whole cores of the cluster manager with scripted hosts, on a clock of their own; the day is an hour.
 */
import { type Rng, seededRng } from "@muster/base";
import { createLedger, generateSiteKey, type Peering } from "@muster/broker";
import { ScriptedHost } from "../../packages/cluster-manager/src/core/scripted-host.fixture.ts";
import { ADMIN, ScriptedSite } from "../../packages/cluster-manager/src/core/scripted-site.fixture.ts";

const NAMES = ["alpha", "beta", "gamma"] as const;
const HOSTS = 4;
const ROUND_MS = 500;
const DAY_MS = 3_600_000;
const RUN_MS = 2 * DAY_MS;
/** Each site has room for 16 such VMs, and its users want 24 at its busy time of the day and 8 at the others. */
const MEAN_RUN_MS = 90_000;
const BUSY = 24;
const QUIET = 8;

type Vm = {
  readonly site: Site;
  readonly id: string;
  readonly askedMs: number;
  readonly runMs: number;
  ranMs?: number;
};
type Site = { readonly name: string; readonly domain: string; readonly bed: ScriptedSite; readonly index: number };

export async function threeSites(): Promise<string> {
  const [alone, together] = [run("never"), run("allow")];
  const lines = [
    "| site | VMs | at peers, % | mean wait alone, s | p95 | mean wait together, s | p95 |",
    "|---|---|---|---|---|---|---|",
  ];
  for (const [index, name] of [...NAMES, "all"].entries()) {
    const [left, right] = [alone, together].map(({ vms }) =>
      vms.filter(({ site }) => index === 3 || site.index === index),
    );
    const moved = (right ?? []).filter(({ id }) => together.atPeers.has(id)).length;
    const share = ((100 * moved) / Math.max(1, right?.length ?? 0)).toFixed(0);
    lines.push(
      `| ${name} | ${right?.length} | ${share} | ${waits(left ?? []).join(" | ")} | ${waits(right ?? []).join(" | ")} |`,
    );
  }
  const means = (vms: readonly Vm[]) =>
    NAMES.map((_, index) => mean(vms.filter(({ site }) => site.index === index).map(waitOf)));
  lines.push(
    "",
    `Fairness of the mean waits (Jain's index, 1: all alike): alone ${jain(means(alone.vms))}, together ${jain(means(together.vms))}. ` +
      `Lent less borrowed, VM hours: ${together.balances.join(", ")}.`,
  );
  return lines.join("\n");
}

function run(burst: "never" | "allow") {
  const sites = NAMES.map((name, index) => siteOf(name, index));
  const rng = seededRng(7);
  const all: Vm[] = [];
  const open = new Set<Vm>();
  const atPeers = new Set<string>();
  for (let passedMs = 0; passedMs < RUN_MS; passedMs += ROUND_MS) {
    for (const site of sites) {
      if (rng.next() < chanceOf(site, passedMs)) {
        const vm = ask(site, rng, burst, all.length);
        all.push(vm);
        open.add(vm);
      }
      site.bed.advance(ROUND_MS);
    }
    exchange(sites);
    for (const vm of open) attend(vm, open, atPeers);
  }
  return { vms: all.filter(({ ranMs }) => ranMs !== undefined), atPeers, balances: sites.map(balanceOf) };
}

function siteOf(name: string, index: number): Site {
  const domain = `${name}.test`;
  const hosts = Array.from({ length: HOSTS }, (_, host) => new ScriptedHost(`h${host + 1}`));
  const peerings = NAMES.filter((other) => other !== name).map((other) => peeringOf(`${other}.test`));
  const ledger = () => createLedger({ domain, keys: () => [KEYS[index] ?? generateSiteKey()] });
  const bed = new ScriptedSite({ policy: { domain, peerings }, hosts, seed: index + 1, ledger });
  return { name, domain, bed, index };
}

const KEYS = NAMES.map(() => generateSiteKey());

function peeringOf(domain: string): Peering {
  const publicKey = KEYS[NAMES.findIndex((name) => `${name}.test` === domain)]?.publicKey ?? "";
  const lend = {
    accept: true,
    share: 1,
    leaseMsMax: 3_600_000,
    vmsMax: 1_000,
    images: [],
    preempt: { noticeMs: 60_000 },
  };
  return { domain, publicKey, lend, borrow: true, state: "active" };
}

/** Chance that somebody asks in this round: each site is busy for a third of the day. */
function chanceOf({ index }: Site, passedMs: number): number {
  const busy = Math.floor(((passedMs % DAY_MS) * NAMES.length) / DAY_MS) === index;
  return ((busy ? BUSY : QUIET) * ROUND_MS) / MEAN_RUN_MS;
}

function ask(site: Site, rng: Rng, burst: "never" | "allow", number: number): Vm {
  const runMs = 30_000 + Math.floor(2 * (MEAN_RUN_MS - 30_000) * rng.next());
  const answer = site.bed.create({ name: `vm${number}`, burst, leaseMs: 300_000 });
  const id = answer?.kind === "request" ? answer.vms[0] : undefined;
  if (id === undefined) throw new Error(`no VM was made: ${JSON.stringify(answer)}`);
  return { site, id, askedMs: site.bed.nowMs, runMs };
}

function attend(vm: Vm, open: Set<Vm>, atPeers: Set<string>): void {
  const { bed } = vm.site;
  const shown = bed.core.views.vm(vm.id);
  if (shown === undefined || shown === "ambiguous") return;
  if (shown.phase === "running" && vm.ranMs === undefined) {
    vm.ranMs = bed.nowMs;
    if (shown.place.kind === "peer") atPeers.add(vm.id);
  }
  if (vm.ranMs === undefined || bed.nowMs - vm.ranMs < vm.runMs) return;
  bed.ask({ kind: "vm-delete", actor: ADMIN, vm: vm.id });
  open.delete(vm);
}

/** Carries what the sites say to each other until nobody says anything. */
function exchange(sites: readonly Site[]): void {
  for (let moved = true; moved; ) {
    moved = false;
    for (const from of sites)
      for (const message of from.bed.outward.splice(0)) {
        moved = true;
        if (message.kind !== "peer-send" && message.kind !== "peer-notify") continue;
        const to = sites.find(({ domain }) => domain === message.peer)?.bed;
        if (to === undefined) continue;
        if (message.kind === "peer-notify") {
          to.step({ kind: "peer-notice", peer: from.domain, notice: { states: message.states } });
          continue;
        }
        const { peer, call, request } = message;
        const answer = to.ask({ kind: "peer-request", peer: from.domain, request });
        const outcome =
          answer?.kind === "burst"
            ? ({ kind: "answered", answer: answer.answer } as const)
            : answer?.kind === "refused"
              ? ({ kind: "refused", refusal: answer.refusal } as const)
              : ({ kind: "unknown" } as const);
        from.bed.step({ kind: "peer-answer", peer, call, outcome });
      }
    for (const { bed } of sites) bed.flow();
  }
}

function balanceOf({ name, bed }: Site): string {
  // Each VM has two vCPUs.
  const ms = bed.core.views
    .ledgerBalances()
    .reduce((sum, { lent, borrowed }) => sum + lent.vcpuMs - borrowed.vcpuMs, 0);
  return `${name} ${(ms / 2 / 3_600_000).toFixed(1)}`;
}

function waitOf({ askedMs, ranMs = 0 }: Vm): number {
  return (ranMs - askedMs) / 1_000;
}

function waits(vms: readonly Vm[]): string[] {
  const sorted = vms.map(waitOf).sort((left, right) => left - right);
  return [mean(sorted).toFixed(1), (sorted[Math.floor(sorted.length * 0.95)] ?? 0).toFixed(1)];
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function jain(values: readonly number[]): string {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return (squares === 0 ? 1 : (sum * sum) / (values.length * squares)).toFixed(2);
}
