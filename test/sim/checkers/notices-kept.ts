/** H2, L3 (notices): a host drops a notice only after its leader has stored that it took it, or for a later one. */
import type { Checker } from "../checker.ts";
import { hostIn } from "../core-words.ts";
import { claim } from "../violation.ts";

export function noticesKept(): Checker {
  return {
    onHostTurn({ host, before, after, changes, events }) {
      if (!events.some(({ kind }) => kind === "notices-taken")) return;
      for (const change of changes) {
        if (change.kind !== "notice" || change.notice !== undefined) continue;
        const dropped = before.notices.get(change.vm);
        const taken = hostIn(host.site.store, host.name)?.notices;
        const stored = taken?.bootId === after.bootId ? taken.sequence : 0;
        const kept = dropped === undefined || dropped.sequence <= stored;
        claim(
          kept,
          "notices",
          () => `${host.address} drops notice ${dropped?.sequence}, stored up to ${stored}`,
          change.vm,
        );
      }
    },
  };
}
