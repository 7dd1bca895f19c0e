/** The images of the site in memory: by digest, by tag, and how many VMs use each. */
import type { VmRecord } from "../core/records.ts";
import type { ImageRecord } from "./image-record.ts";

export class ImageCatalogue {
  readonly records = new Map<string, ImageRecord>();
  readonly #byTag = new Map<string, string>();
  readonly #vms = new Map<string, number>();

  put(record: ImageRecord): void {
    this.#forgetTags(record.digest);
    this.records.set(record.digest, record);
    for (const tag of record.tags) this.#byTag.set(tag, record.digest);
  }

  drop(digest: string): void {
    this.#forgetTags(digest);
    this.records.delete(digest);
  }

  /** By digest, or by the tag that it has now. */
  find(reference: string): ImageRecord | undefined {
    return this.records.get(this.#byTag.get(reference) ?? reference);
  }

  /** VMs that are not over and have it. */
  vmsOf(digest: string): number {
    return this.#vms.get(digest) ?? 0;
  }

  /** A VM that has an image came, or is over. */
  count({ imageDigest }: Pick<VmRecord, "imageDigest">, by: 1 | -1): void {
    if (imageDigest === undefined) return;
    const left = this.vmsOf(imageDigest) + by;
    if (left > 0) this.#vms.set(imageDigest, left);
    else this.#vms.delete(imageDigest);
  }

  /** Of all files together. */
  get bytes(): number {
    let sum = 0;
    for (const { content } of this.records.values()) if (content.kind === "present") sum += content.bytes;
    return sum;
  }

  #forgetTags(digest: string): void {
    for (const tag of this.records.get(digest)?.tags ?? [])
      if (this.#byTag.get(tag) === digest) this.#byTag.delete(tag);
  }
}
