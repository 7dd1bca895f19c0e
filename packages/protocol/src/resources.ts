import { z } from "zod";

/** An amount of machine: what a VM takes, what a host or site offers. Whole units only. */
export type Resources = {
  readonly vcpus: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
  readonly gpus: number;
};

const amount = z.int().min(0).max(1_000_000_000);

/** Zero is fine here: a host may have no GPU, a full site nothing free. */
export const resourcesSchema = z.strictObject({ vcpus: amount, memoryMiB: amount, diskGiB: amount, gpus: amount });

export const NO_RESOURCES: Resources = { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 };

/** The kinds of resource, in the order in which explanations name them. */
export const RESOURCE_KINDS = ["vcpus", "memoryMiB", "diskGiB", "gpus"] as const;
export type ResourceKind = (typeof RESOURCE_KINDS)[number];

/** The kinds as people read them, after a number: `2 vCPUs`, `512 MiB of memory`. */
export const RESOURCE_WORDS: Readonly<Record<ResourceKind, string>> = {
  vcpus: "vCPUs",
  memoryMiB: "MiB of memory",
  diskGiB: "GiB of disk",
  gpus: "GPUs",
};

export function add(left: Resources, right: Resources): Resources {
  return combine(left, right, (a, b) => a + b);
}

/** What is left; never below zero, since a host may be more than full after its policy shrank. */
export function subtract(left: Resources, right: Resources): Resources {
  return combine(left, right, (a, b) => Math.max(0, a - b));
}

export function sum(amounts: Iterable<Resources>): Resources {
  let total = NO_RESOURCES;
  for (const amountOf of amounts) total = add(total, amountOf);
  return total;
}

/** The first kind of resource that `free` lacks for `wanted`, or `undefined` when it fits. */
export function lacking(free: Resources, wanted: Resources): ResourceKind | undefined {
  return RESOURCE_KINDS.find((kind) => free[kind] < wanted[kind]);
}

function combine(left: Resources, right: Resources, by: (a: number, b: number) => number): Resources {
  return {
    vcpus: by(left.vcpus, right.vcpus),
    memoryMiB: by(left.memoryMiB, right.memoryMiB),
    diskGiB: by(left.diskGiB, right.diskGiB),
    gpus: by(left.gpus, right.gpus),
  };
}
