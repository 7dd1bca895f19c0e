/** Which networks a VM's interfaces are on, and why a wish for them is refused. */
import { err, ok, type Result } from "@muster/base";
import { type GrantedProjects, type Refusal, refusal } from "@muster/protocol";
import type { NetworkBook } from "./network-book.ts";
import type { NetworkRecord } from "./network-record.ts";

/** The networks of a request: those it names, or the default one, or none where the site has none. */
export function chooseNetworks(
  book: NetworkBook,
  names: readonly string[] | undefined,
  project: string,
): Result<readonly NetworkRecord[], Refusal> {
  if (names === undefined) {
    const { byDefault } = book;
    return ok(byDefault === undefined ? [] : [byDefault]);
  }
  const chosen: NetworkRecord[] = [];
  for (const name of names) {
    const record = book.records.get(name);
    if (record === undefined || !isGranted(record.projects, project)) return err(unknown(book, name, project));
    if (chosen.includes(record))
      return err(
        refusal("bad-request", "network-twice", `network ${name} is named twice: once is enough`, {
          field: "spec.networks",
        }),
      );
    chosen.push(record);
  }
  return ok(chosen);
}

export function isGranted(projects: GrantedProjects, project: string): boolean {
  return projects === "*" || projects.includes(project);
}

/** What a project may not use, it cannot tell from what is not there. */
function unknown(book: NetworkBook, name: string, project: string): Refusal {
  const known = [...book.records.values()].filter(({ projects }) => isGranted(projects, project)).slice(0, 10);
  const remedy = known.length === 0 ? "there is none for it" : `it may use: ${known.map((one) => one.name).join(", ")}`;
  return refusal("policy-violation", "unknown-network", `project ${project} has no network ${name}; ${remedy}`, {
    field: "spec.networks",
  });
}
