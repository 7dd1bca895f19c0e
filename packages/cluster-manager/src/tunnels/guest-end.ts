/**
 * The end of a tunnel at the host that runs a peer's VM. The host makes it when the VM starts there and removes it with the VM;
 * here it is asked which keys it has, and told when the borrower's end is another one.
 */
import type { Round } from "../core/round.ts";
import { tunnelNic } from "../dispatch/guest.ts";
import { isAlive } from "../dispatch/next-order.ts";
import type { TunnelSide, TunnelTalk } from "./tunnel-book.ts";
import { saysOf, type TunnelStep } from "./tunnel-step.ts";

export function guestStep(
  round: Round,
  { peer, id }: TunnelSide & { readonly kind: "guest" },
  talk: TunnelTalk,
): TunnelStep {
  const lend = round.lender.find(peer, id);
  if (lend?.stage !== "leased" || lend.tunnel === undefined || lend.hold === undefined) return { kind: "none" };
  const record = round.set.vms.get(lend.hold.vm)?.record;
  if (record === undefined || record.place.kind !== "host") return { kind: "rest" };
  const { host: name } = record.place;
  // Asked from the placing on: it is there before the guest runs, and one that comes over alive needs it by then.
  const reported = round.set.hosts.get(name)?.reported.get(record.id);
  if (reported?.attempt === record.attempt && !isAlive(reported.state)) return { kind: "rest" };
  const order = {
    id,
    term: round.policy.term,
    action: "open",
    end: "guest",
    attempt: record.attempt,
    vm: record.id,
    vni: lend.tunnel.vni,
    nic: tunnelNic(round, lend, name),
    peer: lend.tunnel.end,
  } as const;
  return talk.told === saysOf(order) && talk.toldHost === name
    ? { kind: "rest" }
    : { kind: "ask", ask: { host: name, order } };
}
