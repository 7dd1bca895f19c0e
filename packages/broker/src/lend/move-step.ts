import { type PeerMove, refusal } from "@muster/protocol";
import { exchangeOver } from "./hold.ts";
import { findIn, type PeerBook } from "./lend-book.ts";
import { type Reply, refused } from "./lend-turn.ts";

/** A step of a move between the sites: only for a VM that is leased now (B5). What it comes to is for the site to say. */
export function answerMoveStep(peer: PeerBook, step: PeerMove): Reply {
  const known = findIn(peer, step.id);
  if (known === undefined)
    return refused(
      refusal("item-not-found", "unknown-exchange", `no lease ${step.id} of your site is known here`, { field: "id" }),
    );
  if (known.stage === "held") return refused(refusal("conflict", "not-leased", `${step.id} is held, not leased`));
  if (known.stage !== "leased") return refused(exchangeOver(known));
  return { kind: "move", record: known, step };
}
