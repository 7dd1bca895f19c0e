import { type Hello, type Refusal, refusal } from "@muster/protocol";
import type { Head } from "../core/state.ts";

/** L1: a term has one leader: whoever comes with the same one and another opening leads over an older copy of a store. */
export function fenceHello(head: Head, { term, opening }: Hello): Refusal | undefined {
  const stale = fence(head.term, term);
  if (stale !== undefined || term > head.term || head.opening === undefined || opening === undefined) return stale;
  if (opening === head.opening) return undefined;
  return refusal(
    "stale-term",
    "term-given-twice",
    `term ${term} was led by another leader than the one that says hello: an older copy of the site's store was put back`,
    { field: "term" },
  );
}

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
