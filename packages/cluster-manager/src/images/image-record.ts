/** An image of the site's catalogue as the store holds it, under `image/<digest>`. */
import { type GrantedProjects, grantedProjectsSchema } from "@muster/protocol";
import { z } from "zod";

/** What is there of it at this site. Facts only: whether a VM may have it follows from them. */
export type ImageContent =
  | { readonly kind: "awaited" }
  /** Verified and looked into. */
  | { readonly kind: "present"; readonly bytes: number; readonly virtualMiB: number }
  /** It was fetched in vain, and is not tried again by itself. */
  | { readonly kind: "failed"; readonly reason: string; readonly message: string };

export type ImageSource = { readonly kind: "upload" } | { readonly kind: "url"; readonly url: string };

export type ImageRecord = {
  /** `sha256:` and 64 hex digits: its identity. */
  readonly digest: string;
  readonly tags: readonly string[];
  readonly format: "qcow2" | "raw";
  readonly minMemoryMiB?: number | undefined;
  readonly source: ImageSource;
  readonly projects: GrantedProjects;
  readonly approved: boolean;
  readonly withdrawn: boolean;
  readonly content: ImageContent;
  readonly user: string;
  readonly addedAtMs: number;
};

export const imageRecordSchema = z.object({
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  tags: z.array(z.string()),
  format: z.enum(["qcow2", "raw"]),
  minMemoryMiB: z.int().optional(),
  source: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("upload") }),
    z.object({ kind: z.literal("url"), url: z.string() }),
  ]),
  projects: grantedProjectsSchema,
  approved: z.boolean(),
  withdrawn: z.boolean(),
  content: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("awaited") }),
    z.object({ kind: z.literal("present"), bytes: z.int(), virtualMiB: z.int() }),
    z.object({ kind: z.literal("failed"), reason: z.string(), message: z.string() }),
  ]),
  user: z.string(),
  addedAtMs: z.number(),
}) satisfies z.ZodType<ImageRecord>;

export type PresentImage = ImageRecord & { readonly content: Extract<ImageContent, { readonly kind: "present" }> };

/** Whether its content may be given to new VMs. */
export function isAvailable(record: ImageRecord): record is PresentImage {
  return record.approved && !record.withdrawn && record.content.kind === "present";
}

/** Whether the site is to fetch it: not before an admin has seen where from. */
export function isToFetch({ approved, withdrawn, content, source }: ImageRecord): boolean {
  return approved && !withdrawn && content.kind === "awaited" && source.kind === "url";
}
