/** P4: every refusal and every wait has its reason, per host and per peer where something was sought. */
import { isFinal } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { vmIn } from "../core-words.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

export function explained(world: World): Checker {
  return {
    onEffect(_lead, effect) {
      if (effect.kind !== "answer" || effect.answer.kind !== "refused") return;
      const { reason, message } = effect.answer.refusal;
      claim(reason !== "" && message !== "", "P4", () => "a refusal without a reason");
    },
    onCommit(_lead, kept) {
      for (const { key, after } of kept) {
        if (!key.startsWith("vm/") || after === undefined) continue;
        const { phase, reason, refusal } = after as { phase: string; reason?: string; refusal?: unknown };
        const told = phase !== "refused" || (reason !== undefined && refusal !== undefined);
        claim(told, "P4", () => `${key} is refused without a reason`, key.slice(3));
        claim(
          phase !== "in-doubt" || reason !== undefined,
          "P4",
          () => `${key} is in doubt without a reason`,
          key.slice(3),
        );
      }
    },
    atEnd() {
      for (const { site, vms } of world.users.wishes) {
        const lead = site.bound;
        for (const vm of vms ?? []) {
          const record = vmIn(site.store, vm);
          if (lead === undefined || record === undefined || isFinal(record.phase)) continue;
          const why = lead.core.views.why(vm, lead.nowMs());
          claim(
            why !== undefined && why.summary !== "",
            "P4",
            () => `VM ${vm} is ${record.phase} and nobody says why`,
            vm,
          );
          if (record.phase !== "queued") continue;
          const hosts = new Set(why.candidates.filter(({ kind }) => kind === "host").map(({ name }) => name));
          const named = record.burst === "only" || [...site.hosts.keys()].every((host) => hosts.has(host));
          claim(named, "P4", () => `VM ${vm} waits, and not every host is explained: ${JSON.stringify(why)}`, vm);
        }
      }
    },
  };
}
