import type { SiteClient } from "@muster/client";
import type { StoreView } from "@muster/protocol";
import { type Check, ill, well, worry } from "./check.ts";

/** What the leader says of its store. Only admins are told; for others there is nothing to check. */
export async function storeChecks(client: SiteClient): Promise<readonly Check[]> {
  const store = await client.store();
  if (!store.ok)
    return store.error.kind === "forbidden" ? [] : [worry("store", store.error.message, "see the manager's log")];
  const checks = [...termChecks(store.value), ...restoreChecks(store.value), ...strayChecks(store.value)];
  return checks.length === 0 ? [well("store", `in use under term ${store.value.term}`)] : checks;
}

function termChecks({ term, newerTerms }: StoreView): readonly Check[] {
  if (newerTerms.length === 0) return [];
  const highest = Math.max(...newerTerms.map((newer) => newer.term));
  const hosts = newerTerms.map(({ host }) => host).join(", ");
  return [
    ill(
      "store term",
      `${hosts} obeyed term ${highest}, this site is at ${term}: its store is older than what its hosts have seen; nothing is placed`,
      `does another site of this name lead its hosts? stop one. If an older copy was put back: stop all managers, then muster restore --in-place --above ${highest} --config FILE`,
    ),
  ];
}

function restoreChecks({ restore }: StoreView): readonly Check[] {
  if (restore?.state !== "pending") return [];
  const { takenAt, waitingFor } = restore;
  return [
    worry(
      "restore",
      `restored as of ${takenAt}; nothing is placed before these hosts were heard: ${waitingFor.join(", ") || "any"}`,
      "start their host managers; for a machine that is certainly off: muster host fence NAME --confirmed",
    ),
  ];
}

function strayChecks({ strays }: StoreView): readonly Check[] {
  return strays.map(({ host, vm, attempt, state, name, project, peer }) => {
    const who = name === undefined ? "" : ` (${name} of ${project}${peer === undefined ? "" : ` for ${peer}`})`;
    return worry(
      `vm ${vm}`,
      `attempt ${attempt} is ${state} on ${host}, where no record puts it${who}: left alone`,
      peer === undefined
        ? `is it wanted? keep it as it is; if not, on ${host}: virsh undefine and destroy it`
        : "its lease ends by itself when nobody renews it",
    );
  });
}
