/** How long a manager left its event loop waiting, by its own `/metrics`. */
import type { BenchSite } from "./bench-site.ts";

export type Stalls = { readonly p99Ms: number; readonly worstMs: number };

/** Since it was asked last; nothing where it does not answer. */
export async function readStalls({ urlOf, token }: BenchSite, manager: string): Promise<Stalls[]> {
  const url = `${urlOf(manager)}/metrics`;
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } }).catch(() => undefined);
  if (answer?.ok !== true) return [];
  const text = await answer.text();
  const ms = (name: string): number =>
    1_000 * Number(new RegExp(`^muster_nodejs_eventloop_lag_${name}_seconds (\\S+)`, "m").exec(text)?.[1] ?? 0);
  return [{ p99Ms: ms("p99"), worstMs: ms("max") }];
}
