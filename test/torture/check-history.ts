/** What a history must not show: pure functions from the history to the violations, each naming its invariant. */
import type { AskedRequest, FinalHost, FinalSite, FinalVm, History, SureRun } from "./history.ts";

export type Violation = { readonly claim: string; readonly what: string };

type Check = (history: History) => readonly Violation[];

/** All violations of the history, by claim. */
export function checkHistory(history: History): readonly Violation[] {
  return CHECKS.flatMap((check) => check(history));
}

const CHECKS: readonly Check[] = [
  answeredOnce,
  storedAsAnswered,
  oneOutcome,
  everyWaitExplained,
  nothingUnasked,
  neverTwiceAtOnce,
  attemptOnOneHost,
  neverOvercommitted,
  recordsMatchDomains,
  journalsMatchRecords,
  leasesHaveTwins,
];

const ENDS: readonly string[] = ["deleted", "cancelled", "refused", "expired"];
/** Phases that a VM may rest in: what is wanted is reached, or it waits and says why. */
const RESTS: readonly string[] = ["running", "paused", "stopped", "queued", ...ENDS];

/** The request as it was accepted; `undefined` where it was not. */
function acceptedVms({ answers }: AskedRequest): readonly string[] | undefined {
  return answers.find((answer) => answer.kind === "accepted")?.vms;
}

/** B1: one id, one answer, however often it is asked. */
function answeredOnce({ requests }: History): readonly Violation[] {
  return requests.flatMap(({ site, id, answers }) => {
    const violation = (what: string): Violation => ({ claim: "B1", what: `${site}: request ${id} ${what}` });
    if (answers.length === 0) return [violation("was never answered")];
    const accepted = answers.filter((answer) => answer.kind === "accepted");
    const sets = new Set(accepted.map(({ vms }) => vms.join(" ")));
    if (sets.size > 1) return [violation(`was accepted as ${[...sets].join(" and as ")}`)];
    const firstAccepted = answers.findIndex(({ kind }) => kind === "accepted");
    const late = firstAccepted === -1 ? undefined : answers.slice(firstAccepted).find(({ kind }) => kind === "refused");
    return late?.kind === "refused" ? [violation(`was accepted, and then refused: ${late.reason}`)] : [];
  });
}

/** L3, P3: what was accepted is stored as it was answered. */
function storedAsAnswered({ requests, sites }: History): readonly Violation[] {
  return requests.flatMap((asked) => {
    const vms = acceptedVms(asked);
    const stored = siteOf(sites, asked.site)?.requests.filter(({ id }) => id === asked.id) ?? [];
    const violation = (claim: string, what: string): readonly Violation[] => [
      { claim, what: `${asked.site}: request ${asked.id} ${what}` },
    ];
    if (vms === undefined)
      return stored.length === 0 ? [] : violation("B1", `was never accepted towards the client, and is stored`);
    if (stored.length !== 1) return violation("L3", `was accepted, and is stored ${stored.length} times`);
    const kept = stored[0]?.vms ?? [];
    return kept.join(" ") === vms.join(" ")
      ? []
      : violation("L3", `was accepted as ${vms.join(" ")}, and is stored as ${kept.join(" ")}`);
  });
}

/** P3: every VM of an accepted request rests in one outcome that somebody asked for, or waits and says why. */
function oneOutcome({ requests, deletes, sites, waits }: History): readonly Violation[] {
  const deleted = new Set(deletes.map(({ site, vm }) => `${site} ${vm}`));
  const acknowledged = new Set(deletes.filter((one) => one.acknowledged).map(({ site, vm }) => `${site} ${vm}`));
  return requests.flatMap((asked) =>
    (acceptedVms(asked) ?? []).flatMap((id) => {
      const records = siteOf(sites, asked.site)?.vms.filter((vm) => vm.id === id && vm.origin === "local") ?? [];
      const violation = (claim: string, what: string): readonly Violation[] => [
        { claim, what: `${asked.site}: VM ${id} of ${asked.id} ${what}` },
      ];
      const [vm] = records;
      if (vm === undefined || records.length !== 1)
        return violation("P3", `has ${records.length} records in the store`);
      if (!RESTS.includes(vm.phase)) return violation("P3", `rests in ${vm.phase}: ${vm.reason ?? "no reason"}`);
      if (acknowledged.has(`${asked.site} ${id}`) && !ENDS.includes(vm.phase))
        return violation("P3", `was deleted, and is ${vm.phase}`);
      if (["deleted", "cancelled"].includes(vm.phase) && !deleted.has(`${asked.site} ${id}`))
        return violation("H3", `is ${vm.phase}, and nobody deleted it`);
      if (vm.phase === "expired" && !asked.expires)
        return violation("P3", "expired, and was to wait as long as it takes");
      if (vm.phase === "refused" && vm.reason === undefined) return violation("P4", "is refused, and says no reason");
      if (vm.phase === "queued" && !waits.some((wait) => wait.vm === id))
        return violation("P4", "waits, and nobody says why");
      return [];
    }),
  );
}

/** P4: a VM that waited at rest was told for what, candidate by candidate. */
function everyWaitExplained({ waits }: History): readonly Violation[] {
  return waits
    .filter(({ reason, candidates }) => reason === "" || candidates === 0)
    .map(({ site, vm, candidates }) => ({
      claim: "P4",
      what: `${site}: VM ${vm} waits for no reason, of ${candidates} candidates`,
    }));
}

/** No request, and no VM of the site's own, that no client asked for. */
function nothingUnasked({ requests, sites }: History): readonly Violation[] {
  return sites.flatMap(({ site, requests: stored, vms }) => {
    const asked = new Set(requests.filter((one) => one.site === site).map(({ id }) => id));
    const records = stored.filter(({ id }) => !asked.has(id)).map(({ id }) => `request ${id}`);
    const orphans = vms.filter(({ origin, request }) => origin === "local" && !asked.has(request));
    return [...records, ...orphans.map(({ id }) => `VM ${id}`)].map((what) => ({
      claim: "P3",
      what: `${site}: ${what} is stored, and nobody asked for it`,
    }));
  });
}

/** P1: no VM surely ran in two places at once, hosts of all sites counted. */
function neverTwiceAtOnce({ runs }: History): readonly Violation[] {
  return [...grouped(runs, ({ vm }) => vm)].flatMap(([vm, all]) =>
    pairs(all)
      .filter(([one, other]) => placeOf(one) !== placeOf(other))
      .map(([one, other]) => ({
        one,
        other,
        ms: Math.min(one.untilMs, other.untilMs) - Math.max(one.sinceMs, other.sinceMs),
      }))
      .filter(({ ms }) => ms > 0)
      .map(({ one, other, ms }) => ({
        claim: "P1",
        what: `VM ${vm} ran at ${placeOf(one)} (attempt ${one.attempt}) and at ${placeOf(other)} (attempt ${other.attempt}) at once, for ${Math.round(ms)} ms at least`,
      })),
  );
}

/** H5: within a site an attempt belongs to one host. Records of two sites count their attempts apart. */
function attemptOnOneHost({ runs }: History): readonly Violation[] {
  const known = runs.filter(({ attempt }) => attempt !== undefined);
  return [...grouped(known, ({ site, vm, attempt }) => `${site}: attempt ${attempt} of VM ${vm}`)].flatMap(
    ([what, all]) => {
      const hosts = [...new Set(all.map(({ host }) => host))];
      return hosts.length > 1 ? [{ claim: "H5", what: `${what} was started on ${hosts.join(" and ")}` }] : [];
    },
  );
}

/** P2, H4: no host was given more than it has. */
function neverOvercommitted({ overcommitted }: History): readonly Violation[] {
  return overcommitted.map(({ site, host, vcpus, memoryMiB, vms }) => ({
    claim: "P2",
    what: `${site}/${host} ran ${vms.length} domains with ${vcpus} vCPUs and ${memoryMiB} MiB in all`,
  }));
}

/** P1, P3: at the end every running VM is one domain at its place, and every domain of ours is such a VM. */
function recordsMatchDomains({ sites, hosts }: History): readonly Violation[] {
  return sites.flatMap((site) => {
    const ours = hosts.filter((host) => host.site === site.site);
    const here = (vm: FinalVm): readonly FinalHost[] =>
      ours.filter(({ domains }) => domains.some((domain) => domain.vm === vm.id));
    const missing = site.vms.flatMap((vm): readonly Violation[] => {
      if (vm.phase !== "running" || vm.place.kind !== "host") return [];
      const at = here(vm).map(({ host }) => host);
      return at.length === 1 && at[0] === vm.place.name
        ? []
        : [
            {
              claim: "P1",
              what: `${site.site}: VM ${vm.id} is to run at ${vm.place.name}, and runs at [${at.join(", ")}]`,
            },
          ];
    });
    const orphans = ours.flatMap(({ host, domains }) =>
      domains.flatMap(({ vm, attempt }): readonly Violation[] => {
        const record = site.vms.find(({ id }) => id === vm);
        const fits =
          record?.phase === "running" &&
          record.place.kind === "host" &&
          record.place.name === host &&
          record.attempt === attempt;
        if (fits) return [];
        const stored = record === undefined ? "no record" : `a record in ${record.phase}, attempt ${record.attempt}`;
        return [{ claim: "P3", what: `${site.site}/${host}: a domain of VM ${vm}, attempt ${attempt}, has ${stored}` }];
      }),
    );
    return [...missing, ...orphans];
  });
}

/** H1, H5: a host's journal holds nothing that lives on beside the site's records, and no term above the site's. */
function journalsMatchRecords({ sites, hosts }: History): readonly Violation[] {
  return hosts.flatMap(({ site: name, host, term, attempts }) => {
    const site = siteOf(sites, name);
    if (site === undefined) return [];
    const ahead =
      term > site.term ? [{ claim: "H1", what: `${name}/${host} obeyed term ${term} of ${site.term}` }] : [];
    const living = attempts.filter(({ state }) => ["starting", "running", "paused"].includes(state));
    const strays = living.flatMap(({ vm, attempt, state }): readonly Violation[] => {
      const record = site.vms.find(({ id }) => id === vm);
      const fits = record?.place.kind === "host" && record.place.name === host && record.attempt === attempt;
      return fits
        ? []
        : [
            {
              claim: "H5",
              what: `${name}/${host}: attempt ${attempt} of VM ${vm} is ${state} in the journal, and not in the store`,
            },
          ];
    });
    return [...ahead, ...strays];
  });
}

/** B4, P3: every open exchange at a lender has its twin at the borrower, and the other way round, for one VM. */
function leasesHaveTwins({ sites }: History): readonly Violation[] {
  return sites.flatMap((site) => {
    const of = (domain: string): FinalSite | undefined => sites.find((one) => one.domain === domain);
    const alone = (side: "lent" | "borrowed", other: "lent" | "borrowed"): readonly Violation[] =>
      site[side]
        .filter(({ open }) => open)
        .flatMap(({ id, peer, vm, stage }): readonly Violation[] => {
          const twin = of(peer)?.[other].find((one) => one.id === id && one.peer === site.domain);
          const problem =
            twin === undefined || !twin.open
              ? `has no open twin at ${peer} (${twin?.stage ?? "none"})`
              : twin.vm !== vm
                ? `is for VM ${vm} here and for VM ${twin.vm} there`
                : stage !== "leased" || twin.stage !== "leased"
                  ? `rests in ${stage} here and in ${twin.stage} there`
                  : undefined;
          return problem === undefined
            ? []
            : [{ claim: "B4", what: `${site.site}: exchange ${id}, ${side}, ${problem}` }];
        });
    const unbacked = site.vms
      .filter(({ phase, place }) => phase === "running" && place.kind === "peer")
      .filter(({ id }) => !site.borrowed.some(({ vm, open }) => vm === id && open))
      .map(({ id }) => ({ claim: "B4", what: `${site.site}: VM ${id} is to run at a peer without a lease` }));
    return [...alone("lent", "borrowed"), ...alone("borrowed", "lent"), ...unbacked];
  });
}

function placeOf({ site, host }: SureRun): string {
  return `${site}/${host}`;
}

function siteOf(sites: readonly FinalSite[], name: string): FinalSite | undefined {
  return sites.find(({ site }) => site === name);
}

function grouped<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

function pairs<Item>(items: readonly Item[]): readonly (readonly [Item, Item])[] {
  return items.flatMap((one, index) => items.slice(index + 1).map((other) => [one, other] as const));
}
