import type { Underlay, UnderlayList } from "@muster/protocol";
import { fence } from "../command/fence.ts";
import type { Ticket } from "./event.ts";
import type { Turn } from "./turn.ts";

/** The leader tells where the tunnels of the site's hosts end: fenced like an order (H1), the newest of a term counts. */
export function takeUnderlay(turn: Turn, ticket: Ticket, { term, ...list }: Underlay): void {
  const stale = fence(turn.head.term, term);
  if (stale !== undefined) {
    turn.effects.push({ kind: "answer", ticket, answer: { kind: "refused", refusal: stale } });
    return;
  }
  turn.obey(term);
  learnUnderlay(turn, term, list);
  const generation = turn.underlay?.generation ?? list.generation;
  turn.effects.push({ kind: "answer", ticket, answer: { kind: "underlay-taken", taken: { term, generation } } });
}

/** A list that comes late, after a newer one of the same leader, changes nothing. */
export function learnUnderlay(turn: Turn, term: number, { generation, peers }: UnderlayList): void {
  const known = turn.underlay;
  if (known !== undefined && (known.term > term || (known.term === term && known.generation >= generation))) return;
  turn.underlay = { term, generation };
  turn.effects.push({ kind: "learn-underlay", peers });
}
