/** P2: no host is promised more than it has, and no site holds more for its peers than it has, promises included. */
import type { LendRecord } from "@muster/broker";
import type { VmRecord } from "@muster/cluster-manager";
import { add, isFinal, lacking, NO_RESOURCES, type Resources, resourcesOf, subtract, sum } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { allIn } from "../core-words.ts";
import type { HostNode } from "../host-node.ts";
import type { Site } from "../site.ts";
import { claim } from "../violation.ts";

export function promisedRoom(): Checker {
  const promised = new Map<string, Resources>();
  const book = (site: Site, record: unknown, by: typeof add): string | undefined => {
    const host = hostOf(record as VmRecord | undefined);
    if (host === undefined) return undefined;
    const key = `${site.domain}/${host}`;
    promised.set(key, by(promised.get(key) ?? NO_RESOURCES, resourcesOf((record as VmRecord).spec)));
    return host;
  };
  return {
    onCommit({ site }, kept) {
      const placed = new Set<string>();
      for (const { key, before, after } of kept) {
        if (!key.startsWith("vm/")) continue;
        const was = book(site, before, subtract);
        const is = book(site, after, add);
        if (is !== undefined && is !== was) placed.add(is);
      }
      for (const name of placed) {
        const host = site.hosts.get(name);
        const sumOf = promised.get(`${site.domain}/${name}`) ?? NO_RESOURCES;
        if (host === undefined) continue;
        const kind = lacking(sizeOf(host), sumOf);
        claim(kind === undefined, "P2", () => `${host.address} is promised ${JSON.stringify(sumOf)}`);
      }
      for (const { key, before, after } of kept) if (key.startsWith("lend/")) checkHold(site, before, after);
    },
  };
}

function hostOf(record: VmRecord | undefined): string | undefined {
  if (record === undefined || isFinal(record.phase) || record.place.kind !== "host") return undefined;
  return record.place.host;
}

function sizeOf({ machine }: HostNode): Resources {
  const foreign = [...machine.domains.values()].filter(({ plan }) => plan === undefined).map(({ used }) => used);
  return subtract(machine.total, sum(foreign));
}

/** A new hold fits beside everything that is placed and held. A lent VM whose host was lost may wait like any other. */
function checkHold(site: Site, before: unknown, after: unknown): void {
  const record = after as LendRecord | undefined;
  if (before !== undefined || record?.stage !== "held") return;
  let taken: Resources = NO_RESOURCES;
  for (const vm of allIn(site.store, "vm"))
    if (!isFinal(vm.phase) && vm.place.kind === "host") taken = add(taken, resourcesOf(vm.spec));
  for (const { stage, hold } of allIn(site.store, "lend"))
    if (stage === "held" && hold !== undefined) taken = add(taken, resourcesOf(hold.spec));
  const kind = lacking(sum([...site.hosts.values()].map(sizeOf)), taken);
  claim(
    kind === undefined,
    "P2",
    () => `${site.domain} holds more ${kind} than it has: ${JSON.stringify(taken)}`,
    record.id,
  );
}
