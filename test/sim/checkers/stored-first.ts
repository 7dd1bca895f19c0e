/** L3: nothing is answered before it is stored where a successor finds it. */
import type { BurstAnswer } from "@muster/broker";
import type { Checker } from "../checker.ts";
import { lendIn, requestIn, vmIn } from "../core-words.ts";
import type { Lead } from "../lead.ts";
import type { SiteStore } from "../site-store.ts";
import { claim } from "../violation.ts";
import { NoticesStored } from "./notices-stored.ts";

export function storedFirst(): Checker {
  const sent = new Set<string>();
  const notices = new NoticesStored();
  return {
    onCommit: (lead, kept) => notices.take(lead.site.domain, kept),
    onEffect(lead, effect, cause) {
      const { store } = lead.site;
      // Sent again, it is still the command whose place was stored when it was given.
      if (effect.kind === "command" && !sent.has(effect.command.id)) commandStored(lead, effect);
      if (effect.kind === "command") sent.add(effect.command.id);
      if (effect.kind !== "answer" || cause === undefined || lead.term !== store.term) return;
      const { answer } = effect;
      if (answer.kind === "request") {
        const record = requestIn(store, answer.requestId);
        claim(
          record !== undefined,
          "L3",
          () => `request ${answer.requestId} is answered, not stored`,
          answer.requestId,
        );
        if (answer.replay) return;
        for (const vm of answer.vms)
          claim(vmIn(store, vm) !== undefined, "L3", () => `VM ${vm} is answered, not stored`, vm);
      } else if (answer.kind === "notices-taken" && cause.kind === "host-notices" && answer.sequence > 0) {
        const stored = notices.upTo(lead.site.domain, cause.host, cause.bootId);
        claim(
          stored >= answer.sequence,
          "L3",
          () => `notices of ${cause.host} up to ${answer.sequence} are not stored`,
        );
      } else if (answer.kind === "burst" && cause.kind === "peer-request")
        burstStored(store, cause.peer, answer.answer);
    },
  };
}

/** A start goes out only for a place that is stored: a successor finds where the VM may be. */
function commandStored(
  { site, term }: Lead,
  { host, command }: { host: string; command: { action: string; vm: string; attempt: number } },
): void {
  if (command.action !== "start" || site.store.term !== term) return;
  const record = vmIn(site.store, command.vm);
  if (record === undefined || record.attempt !== command.attempt) {
    claim(
      record !== undefined && record.attempt > command.attempt,
      "L3",
      () => `${command.vm} starts unstored`,
      command.vm,
    );
    return;
  }
  const there = record.place.kind === "host" && record.place.host === host;
  claim(
    there || record.place.kind === "none",
    "L3",
    () => `${command.vm} starts on ${host}, stored elsewhere`,
    command.vm,
  );
}

function burstStored(store: SiteStore, peer: string, answer: BurstAnswer): void {
  switch (answer.kind) {
    case "held": {
      const record = lendIn(store, peer, answer.body.id);
      claim(record !== undefined, "L3", () => `hold ${answer.body.id} is granted, not stored`, answer.body.id);
      return;
    }
    case "leased":
    case "released": {
      const { id, revision } = answer.body.state;
      const stored = lendIn(store, peer, id)?.revision ?? -1;
      claim(stored >= revision, "L3", () => `exchange ${id} is answered at revision ${revision}, stored ${stored}`, id);
      return;
    }
    case "renewed":
      for (const { id, state } of answer.body.leases) {
        const record = lendIn(store, peer, id);
        claim(state === undefined || record !== undefined, "L3", () => `lease ${id} is renewed, not stored`, id);
      }
      return;
    case "offer":
    case "pulled":
      return;
  }
}
