/** L2: whoever asks a leader that is deposed already hears nothing of it, not even a refusal. */
import type { CoreEvent } from "@muster/cluster-manager";
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

export function answersGuarded(): Checker {
  const late = new WeakSet<CoreEvent>();
  return {
    onEvent(lead, event) {
      if (lead.term < lead.site.store.term) late.add(event);
    },
    onEffect(lead, effect, cause) {
      if (effect.kind !== "answer" || cause === undefined) return;
      claim(
        !late.has(cause),
        "L2",
        () => `${lead.name} answers ${cause.kind}, which it was asked after it was deposed`,
      );
    },
  };
}
