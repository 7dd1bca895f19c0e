/** B3: what was released or voided, also before it came, never runs: stages of an exchange only go on. */
import type { LendRecord } from "@muster/broker";
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

const ORDER: Readonly<Record<LendRecord["stage"], number>> = {
  held: 0,
  leased: 1,
  releasing: 2,
  released: 3,
  voided: 3,
};

export function tombstones(): Checker {
  const stages = new Map<string, LendRecord["stage"]>();
  return {
    onEffect(lead, effect, cause) {
      if (effect.kind !== "answer" || effect.answer.kind !== "burst" || cause?.kind !== "peer-request") return;
      const { answer } = effect.answer;
      if (answer.kind !== "released") return;
      const { id, stage } = answer.body.state;
      stages.set(`${lead.site.domain}/lend/${cause.peer}/${id}`, stage);
    },
    onCommit(lead, kept) {
      for (const { key, before: was, after } of kept) {
        if (!key.startsWith("lend/") || after === undefined) continue;
        const { id, stage } = after as LendRecord;
        const mark = `${lead.site.domain}/${key}`;
        const before = stages.get(mark);
        // What waits for an admin is over until it is approved.
        const waited = (was as LendRecord | undefined)?.approval?.state === "approved";
        const approved = before === "voided" && stage === "held" && waited;
        const ended = before === "voided" || before === "released";
        const forward = before === undefined || (ended ? stage === before : ORDER[stage] >= ORDER[before]);
        claim(forward || approved, "B3", () => `exchange ${id} was ${before} and is ${stage}`, id);
        stages.set(mark, stage);
      }
    },
  };
}
