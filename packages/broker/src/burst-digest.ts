import { digestOf, type Hold } from "@muster/protocol";

/**
 * What makes two holds the same request (B1): everything that is asked for. The term is left out, since the borrower's
 * next leader repeats the question under its own, and the time for which to hold, since that is no part of the VM.
 */
export function burstDigest(hold: Omit<Hold, "digest" | "term" | "holdMs">): string {
  const { id, vm, name, project, owner, spec, leaseMs, hops, incoming, tunnel } = hold;
  const extras = { ...(incoming === undefined ? {} : { incoming }), ...(tunnel === undefined ? {} : { tunnel }) };
  return digestOf({ id, vm, name, project, owner, spec, leaseMs, hops, ...extras });
}
