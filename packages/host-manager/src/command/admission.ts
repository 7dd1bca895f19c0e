import {
  lacking,
  RESOURCE_WORDS,
  type Refusal,
  type Resources,
  refusal,
  resourcesOf,
  type VmSpec,
} from "@muster/protocol";
import type { Turn } from "../core/turn.ts";
import { freeOf } from "../report/capacity.ts";

/** H4: the host has the last word. *Busy* is no failure: the leader places the VM elsewhere, under the next attempt. */
export function admit(turn: Turn, spec: VmSpec): Refusal | undefined {
  if (turn.hypervisor.kind !== "ready") {
    return refusal("resource-constraint", "hypervisor-unavailable", "the hypervisor of this host does not answer now", {
      retryAfterMs: turn.policy.surveyMs,
    });
  }
  const free = freeNow(turn);
  const wanted = resourcesOf(spec);
  const kind = lacking(free, wanted);
  if (kind === undefined) return undefined;
  return refusal(
    "resource-constraint",
    "no-capacity",
    `it has ${free[kind]} ${RESOURCE_WORDS[kind]} free, ${wanted[kind]} are needed`,
    { field: `subject.spec.${kind}` },
  );
}

/** What may still be taken, by what this turn has taken so far. */
export function freeNow({ policy, hypervisor, foreign, attempts }: Turn): Resources {
  return freeOf({ policy, hypervisor, foreign, attempts: attempts.map });
}

/** Room for one more record (S2); refused before anything is stored. */
export function journalFull(turn: Turn, vm: string): Refusal | undefined {
  if (turn.attempts.has(vm) || turn.attempts.size < turn.policy.attemptsMax) return undefined;
  return refusal(
    "resource-constraint",
    "journal-full",
    `this host remembers ${turn.attempts.size} attempts and no more; settle those that are closed`,
    { retryAfterMs: 60_000 },
  );
}
