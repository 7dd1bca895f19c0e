/** A file of the cache, as eviction looks at it. */
export type CachedImage = { readonly name: string; readonly bytes: number; readonly usedAtMs: number };

export type Eviction =
  | { readonly kind: "evict"; readonly names: readonly string[] }
  /** So much is left where everything goes that may go. */
  | { readonly kind: "no-room"; readonly freeBytes: number };

/**
 * Which images go to make room for `wantedBytes` in a cache of `limitBytes`: those used longest ago, never one in use, and no
 * more than it takes.
 */
export function evict(
  images: readonly CachedImage[],
  inUse: ReadonlySet<string>,
  wantedBytes: number,
  limitBytes: number,
): Eviction {
  let freeBytes = limitBytes - images.reduce((bytes, image) => bytes + image.bytes, 0);
  const names: string[] = [];
  const candidates = images.filter(({ name }) => !inUse.has(name)).sort((a, b) => a.usedAtMs - b.usedAtMs);
  for (const image of candidates) {
    if (freeBytes >= wantedBytes) break;
    freeBytes += image.bytes;
    names.push(image.name);
  }
  return freeBytes >= wantedBytes ? { kind: "evict", names } : { kind: "no-room", freeBytes: Math.max(0, freeBytes) };
}
