import { z } from "zod";
import { imageReferenceSchema, labelKeySchema, labelsSchema, networkNameSchema } from "./ids.ts";
import { sshKeySchema, userDataSchema } from "./login.ts";
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
  /** Networks of its interfaces, in order; absent: one interface on the site's default network, where it has one. */
  networks: z.array(networkNameSchema).min(1, "name at least one network, or leave it out").max(4).optional(),
  /** Who may log in, handed to the guest by its seed. */
  sshKeys: z.array(sshKeySchema).min(1, "give at least one key, or leave it out").max(16).optional(),
  /** What the guest's cloud-init reads (NoCloud user-data). */
  userData: userDataSchema.optional(),
  /** Absent: `bios`. */
  firmware: z.enum(["bios", "uefi"]).optional(),
  /** `host`: the guest sees the CPU of the machine it runs on, and may not move to another kind. Absent: libvirt's default. */
  cpuModel: z.enum(["default", "host"]).optional(),
  /** Weight against other VMs of the host when CPUs are short; absent: the hypervisor's default, 1024. */
  cpuShares: size(2, 262_144, "shares").optional(),
  /** Every vCPU on a physical CPU of its own. */
  dedicatedCpus: z.boolean().optional(),
  /**
   * What becomes of the VM when its host is proved dead (P1): `restart` starts it anew elsewhere, from its image; `keep` has it
   * wait for its host, with its disk. Absent: `restart`, and `keep` while it has volumes.
   */
  onHostLoss: z.enum(["keep", "restart"]).optional(),
});

export type VmSpec = z.output<typeof vmSpecSchema>;

/** What a host must have free for the VM. */
export function resourcesOf(spec: VmSpec): Resources {
  return { vcpus: spec.vcpus, memoryMiB: spec.memoryMiB, diskGiB: spec.diskGiB, gpus: spec.gpus };
}
