/** H1: a host never obeys a lower term than it has obeyed, and has the term stored before it answers or acts. */
import type { HostEvent } from "@muster/host-manager";
import type { Checker } from "../checker.ts";
import type { HostNode } from "../host-node.ts";
import { claim } from "../violation.ts";

export function hostTerms(): Checker {
  const obeyed = new Map<HostNode, number>();
  /** Terms as they were when they reached the host, by ticket. */
  const asked = new Map<HostNode, Map<number, number>>();
  return {
    // What a host promised cannot be kept by one that has forgotten all of it.
    onJournalLost: (host) => void obeyed.delete(host),
    onHostTurn({ host, before, after, events }) {
      const floor = obeyed.get(host) ?? 0;
      claim(before.head.term >= floor, "H1", () => `${host.address} obeyed term ${floor} and has forgotten it`);
      claim(after.head.term >= before.head.term, "H1", () => `the term of ${host.address} falls`);
      for (const event of events) {
        const term = termOf(event);
        if (term === undefined || !("ticket" in event)) continue;
        const tickets = asked.get(host) ?? new Map<number, number>();
        asked.set(host, tickets.set(event.ticket, term));
      }
    },
    onHostEffect(host, effect) {
      const highest = obeyed.get(host) ?? 0;
      if (effect.kind === "start" || effect.kind === "act" || effect.kind === "move-step")
        claim(host.termStored >= highest, "H1", () => `${host.address} acts with term ${highest} not stored`);
      if (effect.kind !== "answer") return;
      const term = asked.get(host)?.get(effect.ticket);
      asked.get(host)?.delete(effect.ticket);
      if (term === undefined || effect.answer.kind === "refused") return;
      claim(term >= highest, "H1", () => `${host.address} obeys term ${term} after term ${highest}`);
      claim(host.termStored >= term, "H1", () => `${host.address} answers term ${term} before it is stored`);
      obeyed.set(host, Math.max(highest, term));
    },
  };
}

function termOf(event: HostEvent): number | undefined {
  if (event.kind === "command") return event.command.term;
  if (event.kind === "move") return event.move.term;
  return event.kind === "hello" ? event.hello.term : undefined;
}
