import { join } from "node:path";
import { assert } from "@muster/base";
import { DEFAULT_WISH, type FederationPlan, planFederation, type SitePlan } from "../plan/federation-plan.ts";

/** Where a site is reached in `docker-compose.yml`, whose networks fix these addresses. */
export type ContainerAddresses = {
  /** Hosts and the command line reach the site's server and HTTP interface here, on the network of the site. */
  readonly inside: string;
  /** The other site's server reaches this site's here. */
  readonly federation: string;
};

export const CONTAINER_ADDRESSES: Readonly<Record<string, ContainerAddresses>> = {
  alpha: { inside: "10.213.1.2", federation: "10.213.0.10" },
  beta: { inside: "10.213.2.2", federation: "10.213.0.20" },
};

/** A service that others reach listens on all addresses of its container: the engine says who gets there. */
export const ANY_ADDRESS = "0.0.0.0";
/** The component link is plain TCP: server and cluster manager share a network namespace and stay on its loopback. */
export const COMPONENT_ADDRESS = "127.0.0.1";

/** The two sites of `docker-compose.yml`, with as many and the same hosts as `muster up` has. */
export function containerPlan(): FederationPlan {
  const plan = planFederation({ ...DEFAULT_WISH, sites: 2, managersPerSite: 1 });
  assert(plan.ok, "the plan of the containers is one of ours");
  return { ...plan.value, sites: plan.value.sites.map((site) => ({ ...site, address: addressesOf(site).inside })) };
}

export function addressesOf(site: SitePlan): ContainerAddresses {
  const addresses = CONTAINER_ADDRESSES[site.name];
  assert(addresses !== undefined, `${site.name} is a site of docker-compose.yml`);
  return addresses;
}

/** Folders of the layout: one for each volume, named as in `docker-compose.yml`. */
export type ContainerFolders = {
  readonly authority: string;
  readonly operator: string;
  server(site: SitePlan): string;
  manager(site: SitePlan): string;
  /** Folder of the host with this number, counted from 1. */
  host(site: SitePlan, number: number): string;
};

export function containerFolders(out: string): ContainerFolders {
  return {
    authority: join(out, "authority"),
    operator: join(out, "operator"),
    server: (site) => join(out, site.name, "xmpp"),
    manager: (site) => join(out, site.name, "cluster-manager"),
    host: (site, number) => join(out, site.name, `host-${number}`),
  };
}
