/** What users and admins do with the images of the site. */
import { IMAGE_TAGS_MAX, type ImageAdd, type Refusal, refusal } from "@muster/protocol";
import type { Actor } from "../core/event.ts";
import type { Round } from "../core/round.ts";
import type { ImageChange, ImageEvent } from "./image-event.ts";
import { type ImageContent, type ImageRecord, isToFetch } from "./image-record.ts";

/** Most images of a site (S2). */
export const IMAGES_MAX = 10_000;

export function takeImageVerb(round: Round, event: ImageEvent): void {
  const done = verb(round, event);
  round.turn.answer(
    event.ticket,
    typeof done === "string" ? { kind: "image", digest: done } : { kind: "refused", refusal: done },
  );
}

/** Tells the shell which images it is to fetch: at the start, what the leader before did not end. */
export function askForImages(round: Round): void {
  for (const record of round.set.images.records.values())
    if (isToFetch(record)) round.turn.effect({ kind: "fetch-image", digest: record.digest });
}

/** The digest of the image, or why not. */
function verb(round: Round, event: ImageEvent): string | Refusal {
  switch (event.kind) {
    case "image-add":
      return add(round, event.actor, event.add) ?? event.add.digest;
    case "image-content":
      return takeContent(round, event.digest, event.content) ?? event.digest;
    case "image-change": {
      const record = round.set.images.find(event.image);
      if (record === undefined || !maySee(event.actor, record)) return unknown(event.image);
      return change(round, event.actor, record, event.change) ?? record.digest;
    }
  }
}

/** Whether the actor learns that there is such an image at all. */
export function maySee(actor: Actor, { projects, user }: ImageRecord): boolean {
  if (actor.role === "admin" || projects === "*" || user === actor.user || actor.projects.includes("*")) return true;
  return projects.some((project) => actor.projects.includes(project));
}

function unknown(name: string): Refusal {
  return refusal("item-not-found", "unknown-image", `there is no image ${name.slice(0, 80)}: see muster image list`);
}

function add(round: Round, actor: Actor, wish: ImageAdd): Refusal | undefined {
  const { set, turn, policy } = round;
  const known = set.images.records.get(wish.digest);
  const refused = refuseAdd(round, actor, wish);
  if (refused !== undefined) return refused;
  if (known !== undefined) return addAgain(round, known, wish);
  if (set.images.records.size >= IMAGES_MAX)
    return refusal("resource-constraint", "too-many-images", `a site has at most ${IMAGES_MAX} images: remove some`);
  const { digest, tags, format, minMemoryMiB, projects, url } = wish;
  for (const tag of tags) freeTag(round, tag);
  put(round, {
    digest,
    tags: [...new Set(tags)],
    format,
    ...(minMemoryMiB === undefined ? {} : { minMemoryMiB }),
    source: url === undefined ? { kind: "upload" } : { kind: "url", url },
    projects,
    approved: actor.role === "admin" || policy.imageApproval === "none",
    withdrawn: false,
    content: { kind: "awaited" },
    user: actor.user,
    addedAtMs: turn.nowMs,
  });
  turn.event("image", digest, `was added by ${actor.user}`);
  return undefined;
}

function refuseAdd(round: Round, actor: Actor, { tags, projects, digest }: ImageAdd): Refusal | undefined {
  if (actor.role === "viewer")
    return refusal("forbidden", "read-only", `${actor.user} may only read: ask an admin for the role user`);
  const own = actor.role === "admin" || actor.projects.includes("*");
  if (!own && (projects === "*" || projects.some((project) => !actor.projects.includes(project))))
    return refusal(
      "forbidden",
      "not-your-project",
      `${actor.user} may add images for its own projects only: name some of ${actor.projects.join(", ") || "none"}`,
      { field: "projects" },
    );
  for (const tag of tags) {
    const refused = refuseTag(round, tag, digest);
    if (refused !== undefined) return refused;
  }
  return undefined;
}

/** A tag that stands for something else is moved on purpose only, by the verb for it. */
function refuseTag({ set, policy }: Round, tag: string, digest: string): Refusal | undefined {
  const holder = set.images.find(tag);
  if (policy.images.some((image) => image.tag === tag && image.digest !== digest))
    return refusal("conflict", "tag-taken", `the tag ${tag} is set by the site's configuration: choose another one`, {
      field: "tags",
    });
  if (holder === undefined || holder.digest === digest || isFree(holder)) return undefined;
  return refusal("conflict", "tag-taken", `another image has the tag ${tag}: move it with muster image tag`, {
    field: "tags",
  });
}

/** What never came in keeps no tag from the one that is right: no VM ever had it. */
function isFree({ content }: ImageRecord): boolean {
  return content.kind === "failed";
}

function freeTag(round: Round, tag: string): void {
  const holder = round.set.images.find(tag);
  if (holder !== undefined && isFree(holder))
    put(round, { ...holder, tags: holder.tags.filter((other) => other !== tag) });
}

/** The digest says that it is the same image. What failed is tried once more; all else has to be as it was (B1). */
function addAgain(round: Round, known: ImageRecord, wish: ImageAdd): Refusal | undefined {
  const same =
    known.format === wish.format &&
    known.minMemoryMiB === wish.minMemoryMiB &&
    (known.source.kind === "url" ? known.source.url : undefined) === wish.url &&
    JSON.stringify(known.projects) === JSON.stringify(wish.projects) &&
    wish.tags.every((tag) => known.tags.includes(tag));
  if (!same)
    return refusal(
      "conflict",
      "image-exists",
      "this image is there already, added in another way: see muster image show, or remove it first",
      { field: "digest" },
    );
  if (known.content.kind === "failed") put(round, { ...known, content: { kind: "awaited" } });
  return undefined;
}

function change(round: Round, actor: Actor, record: ImageRecord, wish: ImageChange): Refusal | undefined {
  const isAdmin = actor.role === "admin";
  if (!isAdmin && (wish.kind === "approve" || actor.role === "viewer" || record.user !== actor.user)) {
    const message = `only an admin${wish.kind === "approve" ? "" : ", or who added the image,"} may ${wish.kind} it`;
    return refusal("forbidden", "admin-only", `${message}: ask one`);
  }
  switch (wish.kind) {
    case "approve": {
      const content: ImageContent = record.content.kind === "failed" ? { kind: "awaited" } : record.content;
      put(round, { ...record, approved: true, withdrawn: false, content });
      round.turn.event("image", record.digest, `was approved by ${actor.user}`);
      return undefined;
    }
    case "withdraw":
      put(round, { ...record, withdrawn: true });
      round.turn.event("image", record.digest, `was withdrawn by ${actor.user}`);
      return undefined;
    case "remove":
      return remove(round, actor, record);
    case "tag":
      return moveTag(round, actor, record, wish.tag);
  }
}

function remove({ set, turn }: Round, actor: Actor, { digest }: ImageRecord): Refusal | undefined {
  const vms = set.images.vmsOf(digest);
  if (vms > 0)
    return refusal(
      "conflict",
      "image-in-use",
      `${vms} VMs use it: delete them first, or withdraw it so that no new one gets it`,
    );
  set.images.drop(digest);
  turn.delete(`image/${digest}`);
  turn.effect({ kind: "drop-image", digest });
  turn.event("image", digest, `was removed by ${actor.user}`);
  return undefined;
}

function moveTag(round: Round, actor: Actor, record: ImageRecord, tag: string): Refusal | undefined {
  const { images } = round.set;
  if (round.policy.images.some((image) => image.tag === tag)) return refuseTag(round, tag, "");
  const holder = images.find(tag);
  if (holder?.digest === record.digest) return undefined;
  if (holder !== undefined && actor.role !== "admin" && holder.user !== actor.user)
    return refusal(
      "forbidden",
      "tag-taken",
      `the tag ${tag} belongs to an image of somebody else: choose another one`,
      {
        field: "tag",
      },
    );
  if (record.tags.length >= IMAGE_TAGS_MAX)
    return refusal("resource-constraint", "too-many-tags", `an image has at most ${IMAGE_TAGS_MAX} tags`);
  if (holder !== undefined) put(round, { ...holder, tags: holder.tags.filter((other) => other !== tag) });
  put(round, { ...record, tags: [...record.tags, tag] });
  round.turn.event("image", record.digest, `has the tag ${tag} now`);
  return undefined;
}

function takeContent(round: Round, digest: string, content: ImageContent): Refusal | undefined {
  const record = round.set.images.records.get(digest);
  if (record === undefined) return unknown(digest);
  if (record.content.kind === "present") return undefined;
  put(round, { ...record, content });
  if (content.kind === "failed") round.turn.event("image", digest, `could not be fetched: ${content.message}`);
  else round.turn.event("image", digest, "its content is there");
  return undefined;
}

function put(round: Round, record: ImageRecord): void {
  round.set.images.put(record);
  round.turn.put(`image/${record.digest}`, record);
  if (isToFetch(record)) round.turn.effect({ kind: "fetch-image", digest: record.digest });
}
