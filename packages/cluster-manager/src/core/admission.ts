/** Whether a request is taken in (P3, S1, S2): rights, image, quota, bounds, names. Every refusal names field and remedy. */
import {
  add,
  digestOf,
  lacking,
  RESOURCE_WORDS,
  type Refusal,
  refusal,
  resourcesOf,
  type VmCreate,
} from "@muster/protocol";
import { chooseGuest } from "../images/guest-choice.ts";
import type { Actor } from "./event.ts";
import { RECORDS_MAX } from "./limits.ts";
import type { Round } from "./round.ts";

type View = Pick<Round, "set" | "policy">;

const NAME_LENGTH_MAX = 63;
const QUEUE_RETRY_MS = 5_000;

/** Tells requests under one id apart: what was asked, and by whom (B1). */
export function requestDigest(actor: Actor, create: VmCreate): string {
  return digestOf({ user: actor.user, create });
}

/** Why the request is not taken in, or `undefined`. */
export function refuseRequest(view: View, create: VmCreate): Refusal | undefined {
  return (
    refuseGuest(view, create) ??
    refuseBurst(view, create) ??
    refuseNames(view, create) ??
    refuseQuota(view, create) ??
    refuseBounds(view, create)
  );
}

/** Whether the actor may change things in the project. */
export function refuseActor(actor: Actor, project: string): Refusal | undefined {
  if (actor.role === "admin") return undefined;
  if (actor.role === "viewer")
    return refusal("forbidden", "read-only", `${actor.user} may only read: ask an admin for the role user`);
  if (actor.projects.includes("*") || actor.projects.includes(project)) return undefined;
  return refusal(
    "forbidden",
    "not-your-project",
    `${actor.user} may not act in project ${project}: ask an admin to be let into it`,
    { field: "project" },
  );
}

/** The names of a request's VMs: `name`, or `name-1` to `name-n`. */
export function vmNames({ name, count }: VmCreate): string[] {
  return count === 1 ? [name] : Array.from({ length: count }, (_, index) => `${name}-${index + 1}`);
}

function refuseGuest({ set, policy }: View, { spec, project }: VmCreate): Refusal | undefined {
  const chosen = chooseGuest(set, policy, spec, project);
  return chosen.ok ? undefined : chosen.error;
}

function refuseBurst({ set }: View, { burst }: VmCreate): Refusal | undefined {
  if (burst !== "only" || set.peers.mayBorrow(set.steppedAtMs)) return undefined;
  return refusal("policy-violation", "no-peering", "no peer may be asked by this site: use burst never or allow", {
    field: "burst",
  });
}

function refuseNames({ set }: View, create: VmCreate): Refusal | undefined {
  for (const name of vmNames(create)) {
    if (name.length > NAME_LENGTH_MAX)
      return refusal(
        "bad-request",
        "name-too-long",
        `${name.slice(0, 20)}… has more than ${NAME_LENGTH_MAX} characters: choose a shorter name`,
        { field: "name" },
      );
    if (set.named(create.project, name) !== undefined)
      return refusal(
        "conflict",
        "name-taken",
        `project ${create.project} has a VM ${name} already: choose another name or delete that one`,
        { field: "name" },
      );
  }
  return undefined;
}

function refuseQuota({ set, policy }: View, create: VmCreate): Refusal | undefined {
  const { quotas } = policy;
  if (!Object.hasOwn(quotas, create.project)) return undefined;
  const quota = quotas[create.project];
  if (quota === undefined) return undefined;
  const usage = set.usageOf(create.project);
  const sentence = (what: string, has: number, most: number, more: number): Refusal =>
    refusal(
      "policy-violation",
      "quota-exceeded",
      `project ${create.project} has ${has} of ${most} ${what} and asks for ${more} more: delete VMs or ask for a higher quota`,
      { field: "project" },
    );
  if (usage.vms + create.count > quota.vms) return sentence("VMs", usage.vms, quota.vms, create.count);
  let asked = resourcesOf(create.spec);
  const one = asked;
  for (let index = 1; index < create.count; index += 1) asked = add(asked, one);
  const kind = lacking(quota.resources, add(usage.resources, asked));
  if (kind === undefined) return undefined;
  return sentence(RESOURCE_WORDS[kind], usage.resources[kind], quota.resources[kind], asked[kind]);
}

function refuseBounds({ set, policy }: View, { count }: VmCreate): Refusal | undefined {
  const more = { retryAfterMs: QUEUE_RETRY_MS };
  if (set.queue.size + count > policy.queueMax)
    return refusal(
      "resource-constraint",
      "queue-full",
      `${set.queue.size} of at most ${policy.queueMax} VMs wait already: try again later`,
      more,
    );
  if (set.active + count > policy.vmsMax)
    return refusal(
      "resource-constraint",
      "too-many-vms",
      `the site has ${set.active} of at most ${policy.vmsMax} VMs: delete some first`,
      more,
    );
  if (set.vms.size + count > RECORDS_MAX)
    return refusal(
      "resource-constraint",
      "too-many-records",
      "too many VMs were made and deleted of late: try again later",
      more,
    );
  return undefined;
}
