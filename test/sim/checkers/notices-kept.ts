/** H2, L3 (notices): a host drops a notice only after its leader has stored that it took it, or for a later one. */
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";
import { NoticesStored } from "./notices-stored.ts";

export function noticesKept(): Checker {
  const notices = new NoticesStored();
  return {
    onCommit: (lead, kept) => notices.take(lead.site.domain, kept),
    onHostTurn({ host, before, after, changes, events }) {
      if (!events.some(({ kind }) => kind === "notices-taken")) return;
      for (const change of changes) {
        if (change.kind !== "notice" || change.notice !== undefined) continue;
        const dropped = before.notices.get(change.vm);
        const stored = notices.upTo(host.site.domain, host.name, after.bootId);
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
