import { z } from "zod";
import { imageReferenceSchema, labelKeySchema, labelsSchema } from "./ids.ts";
import type { Resources } from "./resources.ts";

const size = (least: number, most: number, unit: string) =>
  z
    .number(`must be a whole number of ${unit}`)
    .refine(Number.isInteger, `must be a whole number of ${unit}`)
    .min(least, `must be at least ${least} ${unit}`)
    .max(most, `must be at most ${most} ${unit}`);

/** What one VM is to be. Sizes are what the guest sees; a host never rounds them. */
export const vmSpecSchema = z.strictObject({
  image: imageReferenceSchema,
  vcpus: size(1, 512, "vCPUs"),
  memoryMiB: size(16, 16 * 1024 * 1024, "MiB"),
  diskGiB: size(1, 65_536, "GiB"),
  gpus: size(0, 16, "GPUs").default(0),
  /** Labels a host must carry, all of them. */
  labels: labelsSchema.default({}),
  /** VMs of one affinity group go to one host where they fit (a wish); */
  affinityGroup: labelKeySchema.optional(),
  /** VMs of one anti-affinity group never share a host (a demand). */
  antiAffinityGroup: labelKeySchema.optional(),
});

export type VmSpec = z.output<typeof vmSpecSchema>;

/** What a host must have free for the VM. */
export function resourcesOf(spec: VmSpec): Resources {
  return { vcpus: spec.vcpus, memoryMiB: spec.memoryMiB, diskGiB: spec.diskGiB, gpus: spec.gpus };
}
