import { decode } from "@muster/base";
import { z } from "zod";
import { SHELL_PREFIX } from "../leadership/leader-loop.ts";
import type { CommitOutcome } from "../store/store.ts";
import { type Contact, contactKey } from "./contact.ts";
import type { FaceContext } from "./face-context.ts";

/** Most subscriptions kept: of the site, and of one watcher (S2). */
const WATCHES_MAX = 20_000;
const WATCHES_EACH_MAX = 2_000;

const watchSchema = z.object({
  contact: z.union([
    z.object({ kind: z.enum(["site", "broker"]) }),
    z.object({ kind: z.enum(["host", "vm"]), id: z.string().max(64) }),
  ]),
  watcher: z.string().max(2_000),
});

/**
 * Who watches which contact; stored, because no server tells watchers that a component died: whoever leads next says
 * everything again to everybody.
 */
export class WatchList {
  readonly #keep: FaceContext["loop"]["keep"];
  readonly #contacts = new Map<string, { readonly contact: Contact; readonly watchers: Set<string> }>();
  readonly #each = new Map<string, number>();
  #size = 0;

  constructor(keep: FaceContext["loop"]["keep"]) {
    this.#keep = keep;
  }

  get size(): number {
    return this.#size;
  }

  /** Takes what is stored. Records that cannot be read are left out, and named. */
  load(records: Iterable<readonly [string, unknown]>): string[] {
    const unreadable: string[] = [];
    for (const [key, record] of records) {
      const watch = decode(watchSchema, record);
      if (watch.ok) this.#put(watch.value.contact, watch.value.watcher);
      else unreadable.push(key);
    }
    return unreadable;
  }

  has(contact: Contact, watcher: string): boolean {
    return this.#contacts.get(contactKey(contact))?.watchers.has(watcher) ?? false;
  }

  hasRoomFor(watcher: string): boolean {
    return this.#size < WATCHES_MAX && (this.#each.get(watcher) ?? 0) < WATCHES_EACH_MAX;
  }

  async add(contact: Contact, watcher: string): Promise<CommitOutcome> {
    const outcome = await this.#keep([{ kind: "put", key: keyOf(contact, watcher), value: { contact, watcher } }]);
    if (outcome.kind === "committed") this.#put(contact, watcher);
    return outcome;
  }

  async remove(contact: Contact, watchers: readonly string[]): Promise<void> {
    for (const watcher of watchers) this.#drop(contact, watcher);
    await this.#keep(watchers.map((watcher) => ({ kind: "delete", key: keyOf(contact, watcher) })));
  }

  watchersOf(contact: Contact): readonly string[] {
    return [...(this.#contacts.get(contactKey(contact))?.watchers ?? [])];
  }

  contacts(): readonly Contact[] {
    return [...this.#contacts.values()].map(({ contact }) => contact);
  }

  #put(contact: Contact, watcher: string): void {
    const key = contactKey(contact);
    const entry = this.#contacts.get(key) ?? { contact, watchers: new Set<string>() };
    if (entry.watchers.has(watcher)) return;
    entry.watchers.add(watcher);
    this.#contacts.set(key, entry);
    this.#each.set(watcher, (this.#each.get(watcher) ?? 0) + 1);
    this.#size += 1;
  }

  #drop(contact: Contact, watcher: string): void {
    const key = contactKey(contact);
    const entry = this.#contacts.get(key);
    if (entry?.watchers.delete(watcher) !== true) return;
    if (entry.watchers.size === 0) this.#contacts.delete(key);
    const left = (this.#each.get(watcher) ?? 1) - 1;
    if (left === 0) this.#each.delete(watcher);
    else this.#each.set(watcher, left);
    this.#size -= 1;
  }
}

function keyOf(contact: Contact, watcher: string): string {
  return `${SHELL_PREFIX}${contactKey(contact)}/${watcher}`;
}
