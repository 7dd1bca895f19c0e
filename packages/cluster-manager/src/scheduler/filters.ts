/** The demands: a host that fails one of them is out, with the first reason in the order of this table (P4). */
import { lacking, RESOURCE_WORDS, type ResourceKind } from "@muster/protocol";
import type { Demand, HostOption, Reason } from "./host-option.ts";

type Filter = (demand: Demand, host: HostOption) => Reason | undefined;

const LACKS: Readonly<Record<ResourceKind, string>> = {
  vcpus: "lacks-vcpus",
  memoryMiB: "lacks-memory",
  diskGiB: "lacks-disk",
  gpus: "lacks-gpus",
};

/** Adding a rule is adding a row. `full` comes last: our own sums name the cause better than the host's word. */
const FILTERS: readonly Filter[] = [
  obstacle,
  labels,
  networks,
  tunnel,
  largeEnough,
  room,
  antiAffinity,
  barred,
  avoided,
  full,
];

/** Why the host cannot take the VM now; `undefined` when it can. */
export function refusedBy(demand: Demand, host: HostOption): Reason | undefined {
  for (const filter of FILTERS) {
    const reason = filter(demand, host);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Whether the host could take it if it were empty and in service: what waits for it may hold the queue up. */
export function couldTake(demand: Demand, host: HostOption): boolean {
  return [obstacle, labels, networks, tunnel, largeEnough].every((filter) => filter(demand, host) === undefined);
}

function obstacle(_: Demand, host: HostOption): Reason | undefined {
  return host.obstacle;
}

function labels(demand: Demand, host: HostOption): Reason | undefined {
  for (const [key, value] of demand.labels) {
    if (host.labels[key] !== value)
      return { reason: "lacks-label", message: `it does not carry the label ${key}=${value}` };
  }
  return undefined;
}

/** A host that says nothing of networks is asked: it has the last word anyway (H4). */
function networks({ networks: wanted = [] }: Demand, { networks: said }: HostOption): Reason | undefined {
  if (said === undefined) return undefined;
  for (const { name, abilities } of wanted) {
    const missing = abilities.find((ability) => !said.abilities.includes(ability));
    if (missing !== undefined) {
      const why = said.lacks.find(({ ability }) => ability === missing)?.reason ?? "it does not say why";
      return { reason: LACKS_NETWORK, message: `it cannot attach VMs to ${name} (${missing}): ${why}` };
    }
    if (abilities.includes("bridge") && !said.bridges.includes(name))
      return {
        reason: LACKS_NETWORK,
        message: `it has no bridge for ${name}: make one, and name it in networks.bridges of its host.yaml`,
      };
  }
  return undefined;
}

const LACKS_NETWORK = "lacks-network";

/** A VM on its home network at another site: both ends of the way there, one of which can be reached. */
function tunnel({ tunnel: reach }: Demand, { tunnel: said }: HostOption): Reason | undefined {
  if (reach === undefined) return undefined;
  if (said?.ready !== true) {
    const why = said?.says ?? "add gateway to its host.yaml";
    return { reason: "lacks-tunnels", message: `it carries no tunnels to other sites: ${why}` };
  }
  if (reach === "reachable" || said.address !== undefined) return undefined;
  return { reason: "tunnel-unreachable", message: "no tunnel reaches it: gateway.address of its host.yaml is missing" };
}

function largeEnough(demand: Demand, host: HostOption): Reason | undefined {
  const kind = lacking(host.size, demand.resources);
  if (kind === undefined) return undefined;
  return {
    reason: "too-small",
    message: `it has ${host.size[kind]} ${RESOURCE_WORDS[kind]} in all, ${demand.resources[kind]} are needed`,
  };
}

function room(demand: Demand, host: HostOption): Reason | undefined {
  const kind = lacking(host.free, demand.resources);
  if (kind === undefined) return undefined;
  return {
    reason: LACKS[kind],
    message: `it has ${host.free[kind]} of ${host.size[kind]} ${RESOURCE_WORDS[kind]} free, ${demand.resources[kind]} are needed`,
  };
}

function antiAffinity(demand: Demand, host: HostOption): Reason | undefined {
  if (demand.antiAffinity === undefined || !host.antiAffinity.has(demand.antiAffinity)) return undefined;
  return { reason: "anti-affinity", message: "a VM of the same anti-affinity group is there" };
}

function barred(demand: Demand, host: HostOption): Reason | undefined {
  return demand.barred?.get(host.name);
}

function avoided(demand: Demand, host: HostOption): Reason | undefined {
  if (!(demand.avoid?.has(host.name) ?? false)) return undefined;
  return { reason: "turned-down", message: "it turned this VM down a moment ago" };
}

function full(_: Demand, host: HostOption): Reason | undefined {
  return host.full ? { reason: "full", message: "it says itself that it is full" } : undefined;
}
