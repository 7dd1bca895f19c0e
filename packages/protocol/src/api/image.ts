/** Images of a site as the HTTP API and the command line show them. */
import { z } from "zod";
import { imageDigestSchema, imageTagSchema, projectNameSchema } from "../ids.ts";

/** Most tags of one image, and most projects that are named one by one (S2). */
export const IMAGE_TAGS_MAX = 16;
export const GRANTED_PROJECTS_MAX = 100;

/** Who may use something: the projects named, or all of them. */
export const grantedProjectsSchema = z.union(
  [z.literal("*"), z.array(projectNameSchema).min(1, "name at least one project").max(GRANTED_PROJECTS_MAX)],
  'must be "*" or a list of projects',
);
export type GrantedProjects = z.output<typeof grantedProjectsSchema>;

export const imageFormatSchema = z.enum(["qcow2", "raw"]);

function hasNoLogin(url: string): boolean {
  const { username, password } = URL.parse(url) ?? { username: "", password: "" };
  return username === "" && password === "";
}

/** Body of `POST /v1/images`: the digest is the image's identity, so that the same image twice is the same image. */
export const imageAddSchema = z.strictObject({
  digest: imageDigestSchema,
  tags: z.array(imageTagSchema).max(IMAGE_TAGS_MAX).default([]),
  format: imageFormatSchema.default("qcow2"),
  /** Where the site fetches it; without it the content is sent with `PUT /v1/images/{digest}/content`. */
  url: z
    .url({ protocol: /^https?$/, error: "must be an http or https address" })
    .max(1_000)
    .refine(hasNoLogin, "must not hold a name or password: hosts and users are shown it (S3)")
    .optional(),
  /** Least memory with which it starts. */
  minMemoryMiB: z
    .int()
    .min(16)
    .max(16 * 1024 * 1024)
    .optional(),
  projects: grantedProjectsSchema.default("*"),
});
export type ImageAdd = z.output<typeof imageAddSchema>;
export type ImageAddInput = z.input<typeof imageAddSchema>;

/** `pending`: waits for approval or for its content; `withdrawn`: no new VM gets it, those that have it go on. */
export const imageStateSchema = z.enum(["pending", "available", "withdrawn"]);

export const imageViewSchema = z.object({
  digest: imageDigestSchema,
  tags: z.array(z.string()),
  state: imageStateSchema,
  /** One line: what it waits for, or why it did not come. */
  reason: z.string().optional(),
  format: imageFormatSchema,
  /** Of the file, and of the disk in it; known once the content is there. */
  bytes: z.int().optional(),
  virtualMiB: z.int().optional(),
  minMemoryMiB: z.int().optional(),
  source: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("upload") }),
    z.object({ kind: z.literal("url"), url: z.string() }),
  ]),
  projects: grantedProjectsSchema,
  approved: z.boolean(),
  user: z.string(),
  addedAt: z.iso.datetime(),
  /** Hosts that have it in their cache. */
  hosts: z.array(z.string()),
  /** VMs that are not over and use it. */
  vms: z.int(),
  /** While it comes in: bytes so far, and in all where that is known. */
  progress: z.object({ bytes: z.int(), totalBytes: z.int().optional() }).optional(),
});
export type ImageView = z.output<typeof imageViewSchema>;

/** `POST /v1/images/{image}/{action}`. */
export const imageActionSchema = z.enum(["approve", "withdraw"]);
export type ImageAction = z.output<typeof imageActionSchema>;

/** Body of `POST /v1/images/{image}/tags`: gives the tag to this image, whichever had it before. */
export const imageTagBodySchema = z.strictObject({ tag: imageTagSchema });
