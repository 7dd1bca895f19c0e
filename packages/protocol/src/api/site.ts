/** Site, hosts, queue, peers, leases and events as the HTTP API and the command line show them. */
import { z } from "zod";
import { networkAbilitiesSchema } from "../host/network-abilities.ts";
import { tunnelAbilitySchema } from "../host/tunnel.ts";
import { tunnelEndSchema } from "../host/tunnel-end.ts";
import { underlayEndSchema } from "../host/underlay.ts";
import { lineSchema } from "../ids.ts";
import { unitPricesSchema } from "../ledger/prices.ts";
import { resourcesSchema } from "../resources.ts";
import { candidateViewSchema } from "./vm.ts";

/** While it lasts, peers borrow nothing new here. */
export const maintenanceViewSchema = z.object({
  reason: z.string(),
  until: z.iso.datetime().optional(),
  since: z.iso.datetime(),
});

/** Body of its announcement. */
export const maintenanceBodySchema = z.strictObject({
  reason: lineSchema.min(1).max(200),
  until: z.iso.datetime({ offset: true }).optional(),
});

export const siteViewSchema = z.object({
  domain: z.string(),
  leader: z.string(),
  term: z.int(),
  managers: z.array(z.object({ name: z.string(), role: z.enum(["leader", "standby"]) })),
  /** What keeps the site's records. */
  store: z.enum(["level", "etcd"]).optional(),
  total: resourcesSchema,
  reserved: resourcesSchema,
  used: resourcesSchema,
  free: resourcesSchema,
  hosts: z.record(z.string(), z.int()),
  vms: z.record(z.string(), z.int()),
  queued: z.int(),
  /** Whether placing has begun: not before the hosts were heard after a start (L4). */
  reconciled: z.boolean(),
  /** Nothing new is lent to peers. */
  maintenance: maintenanceViewSchema.optional(),
});
export type SiteView = z.output<typeof siteViewSchema>;

/** The answer to `POST /v1/site/step-down`: who gives the lead up, under which term, and who is to take it. */
export const stepDownViewSchema = z.object({ leader: z.string(), term: z.int(), successor: z.string() });
export type StepDownView = z.output<typeof stepDownViewSchema>;

/** `unknown` never heard in this term, `alive`, `suspect` missed heartbeats, `lost` silent past its limit. */
export const livenessSchema = z.enum(["unknown", "alive", "suspect", "lost"]);
export type Liveness = z.output<typeof livenessSchema>;

export const hostViewSchema = z.object({
  name: z.string(),
  account: z.string(),
  liveness: livenessSchema,
  condition: z.string(),
  draining: z.boolean(),
  total: resourcesSchema,
  reserved: resourcesSchema,
  used: resourcesSchema,
  free: resourcesSchema,
  /** What VMs may be promised in all: the total with its overcommit, less what is reserved. `free` is what is left of it. */
  promisable: resourcesSchema.optional(),
  vms: z.int(),
  foreignVms: z.int(),
  labels: z.record(z.string(), z.string()),
  images: z.array(z.string()),
  /** What VMs can be attached to there, and what not, with the remedy. */
  networks: networkAbilitiesSchema.optional(),
  /** Where tunnels to it end. */
  underlay: underlayEndSchema.optional(),
  /** Tunnels to other sites, where its admin lets it carry them. */
  tunnel: tunnelAbilitySchema.optional(),
  driver: z.string(),
  hypervisor: z.string(),
  agent: z.string(),
  termObeyed: z.int(),
  lastHeardMs: z.number().optional(),
  statusLine: z.string(),
});
export type HostView = z.output<typeof hostViewSchema>;

/** The answer to `POST /v1/hosts`: everything the new host needs, once. */
export const enrolmentSchema = z.object({
  name: z.string(),
  account: z.string(),
  token: z.string(),
  expiresSeconds: z.int(),
  /** The one command to run on the host. */
  command: z.string(),
});
export type Enrolment = z.output<typeof enrolmentSchema>;

export const queueEntrySchema = z.object({
  position: z.int(),
  vm: z.string(),
  name: z.string(),
  project: z.string(),
  priority: z.int(),
  waitingMs: z.number(),
  reason: z.string(),
  candidates: z.array(candidateViewSchema),
});
export type QueueEntry = z.output<typeof queueEntrySchema>;

/** The way home of a leased VM, as this site has it. */
export const leaseTunnelViewSchema = z.object({
  /** Of our hosts, the one with our end; absent until it is there. */
  host: z.string().optional(),
  /** Of the VM, on its home network. */
  address: z.string().optional(),
  mtu: z.int(),
  own: tunnelEndSchema.optional(),
  other: tunnelEndSchema.optional(),
});

export const leaseViewSchema = z.object({
  id: z.string(),
  role: z.enum(["borrower", "lender"]),
  peer: z.string(),
  vm: z.string(),
  name: z.string(),
  project: z.string(),
  stage: z.string(),
  revision: z.int(),
  vmPhase: z.string().optional(),
  remainingMs: z.number(),
  renewals: z.int(),
  resources: resourcesSchema,
  reason: z.string().optional(),
  /** The lender ends it then, for `reason`. */
  endsWithinMs: z.number().optional(),
  /** What it is charged by, where it costs anything. */
  prices: unitPricesSchema.optional(),
  /** Its VM is on its home network. */
  tunnel: leaseTunnelViewSchema.optional(),
});
export type LeaseView = z.output<typeof leaseViewSchema>;

/** One line of `GET /v1/events`: what changed, for people and programs that follow. */
export const eventViewSchema = z.object({
  id: z.int(),
  at: z.iso.datetime(),
  kind: z.enum(["site", "host", "vm", "queue", "lease", "peer", "image", "network"]),
  subject: z.string(),
  message: z.string(),
});
export type EventView = z.output<typeof eventViewSchema>;

/** A page of a list; `next` is the `after` of the following page. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), next: z.string().optional() });
}
export type Page<Item> = { readonly items: readonly Item[]; readonly next?: string | undefined };

/** Most items on one page of a list. */
export const PAGE_MAX = 500;
