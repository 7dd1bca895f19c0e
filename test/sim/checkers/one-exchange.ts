/** B2: silence means unknown: a VM has one exchange at a time, closed only when it is over at the lender, or by time. */
import type { BorrowRecord } from "@muster/broker";
import type { Checker } from "../checker.ts";
import { lendIn } from "../core-words.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

export function oneExchange(world: World): Checker {
  const open = new Map<string, string>();
  return {
    onCommit(lead, kept) {
      const { domain } = lead.site;
      for (const { key, before, after } of kept) {
        if (!key.startsWith("borrow/")) continue;
        const was = before as BorrowRecord | undefined;
        const is = after as BorrowRecord | undefined;
        if (is === undefined) {
          claim(
            was === undefined || was.stage === "closed",
            "B2",
            () => `exchange ${was?.id} is forgotten open`,
            was?.id,
          );
          continue;
        }
        const vm = `${domain} ${is.vm}`;
        if (is.stage === "closed") {
          if (open.get(vm) === is.id) open.delete(vm);
          if (was !== undefined && was.stage !== "closed") checkClosed(world, domain, lead.nowMs(), was, is);
          continue;
        }
        // What waits for an admin there is asked again under its own id.
        const again = was?.stage === "closed" && was.awaitsApproval !== true;
        claim(!again, "B2", () => `exchange ${is.id} opens again`, is.id);
        const other = open.get(vm);
        claim(
          other === undefined || other === is.id,
          "B2",
          () => `${is.vm} has the exchanges ${other} and ${is.id}`,
          is.vm,
        );
        open.set(vm, is.id);
      }
    },
  };
}

/** No lease was ever asked, the lender says that it is over, or nothing of it can be left. */
function checkClosed(world: World, domain: string, nowMs: number, was: BorrowRecord, is: BorrowRecord): void {
  if (was.stage === "holding") return;
  const lender = world.siteOf(is.peer);
  const there = lender === undefined ? undefined : lendIn(lender.store, domain, is.id);
  const over = there === undefined || there.stage === "released" || there.stage === "voided";
  const byTime = (was.overAtMs ?? Number.POSITIVE_INFINITY) <= nowMs;
  claim(
    over || byTime,
    "B2",
    () => `exchange ${is.id} is closed from ${was.stage}, ${there?.stage} at ${is.peer}`,
    is.id,
  );
}
