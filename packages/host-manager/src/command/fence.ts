import { type Refusal, refusal } from "@muster/protocol";

/** H1: a host never obeys a term lower than one it has obeyed. The caller stores the higher term before it acts. */
export function fence(termObeyed: number, term: number): Refusal | undefined {
  if (term >= termObeyed) return undefined;
  return refusal(
    "stale-term",
    "stale-term",
    `term ${term} is over: this host obeys term ${termObeyed}; ask the leader of that term`,
    { field: "term" },
  );
}
