import type { StoreView } from "@muster/protocol";
import type { World } from "./views.ts";

/** Most of one list that is shown (S2). */
const SHOWN_MAX = 1_000;

export function storeView({ set, policy }: Pick<World, "set" | "policy">): StoreView {
  const { restore } = set;
  return {
    term: policy.term,
    ...(restore === undefined ? {} : { restore: restoreView(restore, set) }),
    newerTerms: [...set.newerTerms].map(([host, term]) => ({ host, term })).slice(0, SHOWN_MAX),
    strays: straysOf(set).slice(0, SHOWN_MAX),
  };
}

function restoreView(
  restore: NonNullable<World["set"]["restore"]>,
  { hosts }: World["set"],
): NonNullable<StoreView["restore"]> {
  const { state, source, takenAtMs, restoredAtMs } = restore;
  const pending = state === "pending";
  const silent = [...hosts.values()].filter((host) => !host.record.fenced && !host.reconciled);
  return {
    state: pending ? "pending" : "settled",
    source,
    takenAt: new Date(takenAtMs).toISOString(),
    restoredAt: new Date(restoredAtMs).toISOString(),
    waitingFor: pending ? silent.map(({ name }) => name).sort() : [],
  };
}

function straysOf({ hosts, subjects }: World["set"]): StoreView["strays"] {
  return [...hosts.values()].flatMap((host) =>
    [...host.strays].flatMap((vm) => {
      const report = host.reported.get(vm);
      if (report === undefined) return [];
      const { name, project, owner, lease, peer } = subjects.get(vm) ?? {};
      return [
        {
          host: host.name,
          vm,
          attempt: report.attempt,
          state: report.state,
          ...(name === undefined ? {} : { name }),
          ...(project === undefined ? {} : { project }),
          ...(owner === undefined ? {} : { owner }),
          ...(lease === undefined ? {} : { lease }),
          ...(peer === undefined ? {} : { peer }),
        },
      ];
    }),
  );
}
