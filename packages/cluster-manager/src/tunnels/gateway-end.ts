/** The end of a tunnel at a gateway of ours, for a VM of ours that runs at a peer: which host has it, and what it is told. */
import type { BorrowRecord } from "@muster/broker";
import type { GuestNic, Refusal, TunnelOrder } from "@muster/protocol";
import { TUNNEL_KEEP_MS_MAX } from "@muster/protocol";
import type { Round } from "../core/round.ts";
import { homeNic } from "../dispatch/guest.ts";
import { isReachable } from "../dispatch/orders.ts";
import type { TunnelTalk } from "./tunnel-book.ts";
import { type FormerGateway, LEFT_MAX, type TunnelRecord } from "./tunnel-record.ts";
import { saysOf, type TunnelAsk, type TunnelStep } from "./tunnel-step.ts";
import { readyGateways } from "./tunnel-wish.ts";

/** A gateway keeps its end for this much longer than the lease can last, so that not every renewal has to be told. */
const KEEP_MORE_MS = 60_000;

export function gatewayStep(round: Round, id: string, talk: TunnelTalk): TunnelStep {
  const { set, turn } = round;
  const record = set.tunnels.records.get(id);
  const former = record === undefined ? undefined : formerToClose(round, record);
  if (record !== undefined && former !== undefined) return { kind: "ask", ask: closeAt(round, record, former) };
  const exchange = openExchange(round, id, record?.vm);
  if (exchange === undefined) return record === undefined ? { kind: "none" } : closeEnd(round, record);
  // What is not held may never come about.
  if (exchange.stage === "holding") return { kind: "rest" };
  const nic = nicAtHome(round, exchange);
  if (nic === undefined) return { kind: "failed", reason: "its network is not there any more" };
  const placed = gatewayOf(round, exchange, record, talk);
  if (typeof placed === "string")
    return exchange.stage === "leasing" ? { kind: "failed", reason: placed } : { kind: "rest" };
  const order = openOrder(round, exchange, placed, nic);
  const isKept = talk.keptUntilMs > (exchange.overAtMs ?? exchange.expiresAtMs);
  if (talk.told === saysOf(order) && isKept && turn.nowMs < talk.keptUntilMs) return { kind: "rest" };
  return { kind: "ask", ask: { host: placed.host, order } };
}

/** A gateway that refused is not asked about this exchange again, as long as there is another one. */
export function gatewayTold(round: Round, id: string, talk: TunnelTalk, host: string, refused: Refusal): void {
  const record = round.set.tunnels.records.get(id);
  if (record?.host !== host || record.closing || refused.kind === "stale-term") return;
  if (refused.reason === "tunnel-over") {
    // It has closed this attempt, as one that nobody spoke of for too long, or before a restore of ours: the next one is new.
    put(round, { ...record, attempt: record.attempt + 1 });
    return;
  }
  talk.failed.set(host, `${host}: ${refused.message}`.slice(0, 200));
}

function openExchange(round: Round, id: string, vm: string | undefined): BorrowRecord | undefined {
  const named = vm ?? round.set.tunnels.vmOf(id);
  const exchange = named === undefined ? undefined : round.borrower.exchangeOf(named);
  return exchange?.id === id && exchange.tunnel !== undefined ? exchange : undefined;
}

/** The gateway that has the end, or a new one where that is gone; a sentence where there is none. */
function gatewayOf(
  round: Round,
  exchange: BorrowRecord,
  record: TunnelRecord | undefined,
  talk: TunnelTalk,
): TunnelRecord | string {
  const { set, turn } = round;
  const host = record === undefined ? undefined : set.hosts.get(record.host);
  const isGone = host === undefined || host.liveness === "lost" || host.record.fenced;
  if (record !== undefined && !record.closing && !isGone && !talk.failed.has(record.host)) return record;
  const next = readyGateways(set)
    .filter(({ host: { name } }) => !talk.failed.has(name) && (name !== record?.host || !isGone))
    .filter(({ ability }) => exchange.tunnel?.reach !== "reachable" || ability.address !== undefined)
    .filter(({ ability }) => ability.mtu >= (exchange.tunnel?.mtu ?? 0))
    .sort((left, right) => loadOf(round, left.host.name) - loadOf(round, right.host.name))[0];
  if (next === undefined) {
    const said = [...talk.failed.values()].join("; ");
    // All of them are asked again, once the lease rests on it.
    talk.failed.clear();
    return `no gateway of this site can carry its tunnel${said === "" ? "" : `: ${said}`}`.slice(0, 400);
  }
  const { id, vm, peer } = exchange;
  const left = [...(record?.left ?? []), ...(record === undefined ? [] : [record])].slice(-LEFT_MAX);
  const placed = {
    ...{ id, vm, peer, host: next.host.name, attempt: (record?.attempt ?? 0) + 1, closing: false },
    ...(left.length === 0 ? {} : { left: left.map(({ host: name, attempt }) => ({ host: name, attempt })) }),
  };
  put(round, placed);
  turn.event("lease", id, `its tunnel to ${peer} begins at ${placed.host}`);
  return placed;
}

function loadOf({ set }: Round, host: string): number {
  let count = 0;
  for (const record of set.tunnels.records.values()) if (record.host === host) count += 1;
  return count;
}

/** The interface as the VM has it at home: its network is where the end is put. */
function nicAtHome({ set }: Round, { vm, tunnel }: BorrowRecord): GuestNic | undefined {
  const nic = set.vms.get(vm)?.record.nics?.find(({ mac }) => mac === tunnel?.nic.mac);
  const network = nic === undefined ? undefined : set.networks.records.get(nic.network);
  return nic === undefined || network === undefined ? undefined : homeNic(network, nic);
}

function openOrder(round: Round, exchange: BorrowRecord, { attempt }: TunnelRecord, nic: GuestNic): TunnelOrder {
  const { id, vm, tunnel, overAtMs, expiresAtMs } = exchange;
  const leftMs = Math.max(0, (overAtMs ?? expiresAtMs) - round.turn.nowMs);
  const keepMs = Math.min(TUNNEL_KEEP_MS_MAX, Math.ceil(2 * leftMs + KEEP_MORE_MS));
  return {
    id,
    term: round.policy.term,
    action: "open",
    end: "gateway",
    attempt,
    vm,
    vni: tunnel?.vni ?? 1,
    nic,
    ...(tunnel?.other === undefined ? {} : { peer: tunnel.other }),
    keepMs,
  };
}

/** The exchange is over. A gateway that is not heard closes its end by itself (B4), and is told when it is back. */
function closeEnd(round: Round, record: TunnelRecord): TunnelStep {
  if (isGoneForGood(round, record.host)) {
    gatewayClosed(round, record.id, record);
    return round.set.tunnels.records.has(record.id) ? { kind: "rest" } : { kind: "none" };
  }
  if (!record.closing) put(round, { ...record, closing: true });
  return { kind: "ask", ask: closeAt(round, record, record) };
}

/** A gateway of before that can be told to close its end. */
function formerToClose(round: Round, record: TunnelRecord): FormerGateway | undefined {
  for (const former of record.left ?? [])
    if (isGoneForGood(round, former.host)) gatewayClosed(round, record.id, former);
  return round.set.tunnels.records.get(record.id)?.left?.find(({ host: name }) => {
    const host = round.set.hosts.get(name);
    return host !== undefined && isReachable(host);
  });
}

function isGoneForGood({ set }: Round, name: string): boolean {
  const host = set.hosts.get(name);
  return host === undefined || host.record.fenced;
}

function closeAt({ policy }: Round, { id, vm }: TunnelRecord, { host, attempt }: FormerGateway): TunnelAsk {
  return { host, order: { id, term: policy.term, action: "close", end: "gateway", attempt, vm } };
}

/** Nothing of this attempt is left there. */
export function gatewayClosed(round: Round, id: string, { host, attempt }: FormerGateway): void {
  const { set, turn } = round;
  const record = set.tunnels.records.get(id);
  if (record === undefined) return;
  const isLast = record.host === host && record.attempt === attempt;
  const left = (record.left ?? []).filter((former) => former.host !== host || former.attempt !== attempt);
  if (!isLast || !record.closing) {
    put(round, { ...record, left: left.length === 0 ? undefined : left });
    return;
  }
  const [next, ...others] = left;
  if (next !== undefined) {
    put(round, { ...record, ...next, left: others.length === 0 ? undefined : others });
    return;
  }
  set.tunnels.records.delete(id);
  turn.delete(`tunnel/${id}`);
}

function put({ set, turn }: Round, record: TunnelRecord): void {
  set.tunnels.records.set(record.id, record);
  turn.put(`tunnel/${record.id}`, record);
}
