/**
 * Capacity of a host, in its directed presence to `cloud.<domain>`, on change and as heartbeat.
 * Namespace urn:muster:capacity:1, version 1.
 */
import { z } from "zod";
import { attemptSchema, imageReferenceSchema, labelsSchema, lineSchema, uuidSchema, vmIdSchema } from "../ids.ts";
import { NS_CAPACITY } from "../namespaces.ts";
import { resourcesSchema } from "../resources.ts";
import { hostVmStateSchema } from "../vm-state.ts";
import { type Fields, flag, integer, line, nested, pairs, text, texts } from "../xml/field.ts";
import { defineMessage } from "../xml/message.ts";
import { resourceFields } from "../xml/spec-fields.ts";
import { accessFields, accessSchema } from "./access.ts";
import { networkAbilitiesFields, networkAbilitiesSchema } from "./network-abilities.ts";
import { operationResultFields, operationResultSchema } from "./operation.ts";
import { tunnelAbilityFields, tunnelAbilitySchema } from "./tunnel.ts";
import { underlayEndFields, underlayEndSchema } from "./underlay.ts";

/** One attempt the host knows of; in capacity only what changed lately, in inventory all of it. */
export const hostVmSchema = z.object({
  vm: vmIdSchema,
  attempt: attemptSchema,
  state: hostVmStateSchema,
  address: z.string().max(64).optional(),
  /** Where its ssh is reached from outside, where its address is not. */
  access: accessSchema.optional(),
  reason: lineSchema.optional(),
  /** How its last operation ended, where it had one. */
  operation: operationResultSchema.optional(),
});
export type HostVm = z.output<typeof hostVmSchema>;

export const hostVmFields: Fields<HostVm> = {
  vm: text,
  attempt: integer,
  state: text,
  address: text,
  access: nested(accessFields),
  reason: line,
  operation: nested(operationResultFields),
};

export const capacitySchema = z.object({
  /** New at each start of the host manager: sequence numbers count within it. */
  bootId: uuidSchema,
  sequence: z.int().min(0),
  /** How often the host promises to be heard; liveness is judged by it. */
  heartbeatMs: z.int().min(50).max(600_000),
  /** Highest term obeyed (H1); 0 before the first. */
  termObeyed: z.int().min(0),
  /** What the machine has. */
  total: resourcesSchema,
  /** What its admin keeps back for the machine itself and for foreign domains. */
  reserved: resourcesSchema,
  /** What the VMs of ours take, started or being started. */
  used: resourcesSchema,
  vms: z.int().min(0),
  /** Domains on the hypervisor that are not ours: counted, never touched (H3). */
  foreignVms: z.int().min(0),
  /** `accepting`, `full`, `draining`, or `degraded` when the hypervisor does not answer. */
  condition: z.enum(["accepting", "full", "draining", "degraded"]),
  driver: z.string().max(64),
  hypervisor: lineSchema,
  agent: z.string().max(64),
  /** Whether VMs can be moved alive from and to this host. */
  moves: z.boolean().optional(),
  /** What VMs can be attached to; absent where nobody can tell. */
  networks: networkAbilitiesSchema.optional(),
  /** Where tunnels to it end, where it takes part in the site's VXLAN networks. */
  underlay: underlayEndSchema.optional(),
  /** Tunnels to other sites, where its admin lets it carry them. */
  tunnel: tunnelAbilitySchema.optional(),
  labels: labelsSchema,
  images: z.array(imageReferenceSchema).max(200),
  /** Digest of the host's full list of attempts: a manager that holds another one asks for the inventory. */
  inventoryDigest: z.string().max(64),
});
export type Capacity = z.output<typeof capacitySchema>;

export const capacityMessage = defineMessage({
  name: "capacity",
  namespace: NS_CAPACITY,
  schema: capacitySchema,
  fields: {
    bootId: text,
    sequence: integer,
    heartbeatMs: integer,
    termObeyed: integer,
    total: nested(resourceFields),
    reserved: nested(resourceFields),
    used: nested(resourceFields),
    vms: integer,
    foreignVms: integer,
    condition: text,
    driver: text,
    hypervisor: text,
    agent: text,
    moves: flag,
    networks: nested(networkAbilitiesFields),
    underlay: nested(underlayEndFields),
    tunnel: nested(tunnelAbilityFields),
    labels: pairs("label"),
    images: texts("image"),
    inventoryDigest: text,
  },
});
