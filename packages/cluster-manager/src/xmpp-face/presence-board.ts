import type { CancelTimer } from "@muster/base";
import { type Capacity, capacityMessage } from "@muster/protocol";
import { Element } from "ltx";
import { NotServingError } from "../leadership/not-serving.ts";
import {
  type Contact,
  type ContactPresence,
  contactAddress,
  contactKey,
  presenceOf,
  presenceStanza,
} from "./contact.ts";
import type { FaceContext } from "./face-context.ts";
import type { WatchList } from "./watch-list.ts";

/** Changes within this time are told as one. */
const COALESCE_MS = 100;
/** How often everything that is watched is looked at again, for what changes by time alone. */
const LOOK_AGAIN_MS = 5_000;

/** Shows contacts to their watchers: on change only, everything again when the link came back. */
export class PresenceBoard {
  readonly #context: FaceContext;
  readonly #watches: WatchList;
  /** For machines that watch: what a host last said of itself. */
  readonly #capacityOf: (host: string) => Capacity | undefined;
  /** What was last told of a contact, to all of its watchers. */
  readonly #told = new Map<string, string>();
  readonly #changed = new Map<string, Contact>();
  #cancelFlush: CancelTimer | undefined;
  #cancelLook: CancelTimer = () => {};
  #stopped = false;

  constructor(context: FaceContext, watches: WatchList, capacityOf: (host: string) => Capacity | undefined) {
    this.#context = context;
    this.#watches = watches;
    this.#capacityOf = capacityOf;
  }

  start(): void {
    this.#planLook();
  }

  /** The contact may show something else now. */
  changed(contact: Contact): void {
    if (this.#stopped) return;
    if (this.#watches.watchersOf(contact).length === 0) {
      this.#told.delete(contactKey(contact));
      return;
    }
    this.#changed.set(contactKey(contact), contact);
    this.#cancelFlush ??= this.#context.clock.setTimer(COALESCE_MS, () => {
      this.#flush().catch((error: unknown) =>
        this.#context.log.error({ error: String(error) }, "presence met a fault"),
      );
    });
  }

  /** Tells everything to everybody: the link is new, and nobody knows what was told before. */
  announceAll(): void {
    this.#told.clear();
    for (const contact of this.#watches.contacts()) this.changed(contact);
  }

  /** Tells one watcher what a contact shows now. */
  async tell(contact: Contact, watcher: string): Promise<void> {
    const shown = await this.#read(contact);
    if (shown === "unheard") return;
    await this.#send(contact, watcher, shown ?? GONE);
    // What one was told ahead of the others, all are told once more, so that going back to the old is a change again.
    const [key, text] = [contactKey(contact), JSON.stringify(shown ?? GONE)];
    if (this.#watches.watchersOf(contact).length === 1) this.#told.set(key, text);
    else if (this.#told.get(key) !== text) {
      this.#told.delete(key);
      this.changed(contact);
    }
  }

  /** Stops; says goodbye to all watchers, unless another leader speaks to them. */
  async stop(how: "goodbye" | "silent"): Promise<void> {
    this.#stopped = true;
    this.#cancelFlush?.();
    this.#cancelLook();
    if (how === "silent") return;
    const gone = { ...GONE, status: "the cluster manager stopped" };
    for (const contact of this.#watches.contacts()) {
      for (const watcher of this.#watches.watchersOf(contact)) if (!(await this.#send(contact, watcher, gone))) return;
    }
  }

  async #flush(): Promise<void> {
    try {
      await this.#tellChanged();
    } finally {
      this.#cancelFlush = undefined;
      const [waiting] = this.#changed.values();
      if (waiting !== undefined) this.changed(waiting);
    }
  }

  async #tellChanged(): Promise<void> {
    const contacts = [...this.#changed.values()];
    this.#changed.clear();
    for (const contact of contacts) {
      const shown = await this.#read(contact);
      if (shown === "unheard") continue;
      const text = JSON.stringify(shown ?? GONE);
      if (this.#told.get(contactKey(contact)) === text || this.#stopped) continue;
      if (!(await this.#tellAll(contact, shown ?? GONE))) break;
      this.#told.set(contactKey(contact), text);
      if (shown === undefined) await this.#retire(contact);
    }
  }

  async #tellAll(contact: Contact, shown: ContactPresence): Promise<boolean> {
    for (const watcher of this.#watches.watchersOf(contact))
      if (!(await this.#send(contact, watcher, shown))) return false;
    return true;
  }

  /** What does not exist any more leaves the rosters' subscriptions, and ours. */
  async #retire(contact: Contact): Promise<void> {
    const watchers = this.#watches.watchersOf(contact);
    const from = contactAddress(contact, this.#context.domain);
    for (const to of watchers)
      await this.#context.bus.send(new Element("presence", { from, to, type: "unsubscribed" }));
    await this.#watches.remove(contact, watchers);
    this.#told.delete(contactKey(contact));
  }

  /** `unheard`: nothing can be said now, so what was shown last stays: the host had no chance yet, or the store is away. */
  #read(contact: Contact): Promise<ContactPresence | "unheard" | undefined> {
    const reading = this.#context.loop.read((views, nowMs) => {
      const silent = contact.kind === "host" && views.host(contact.id, nowMs)?.liveness === "unknown";
      return silent && !views.site(nowMs).reconciled ? "unheard" : presenceOf(contact, views, nowMs);
    });
    return reading.catch((error: unknown) => {
      if (error instanceof NotServingError) return "unheard";
      throw error;
    });
  }

  async #send(contact: Contact, to: string, shown: ContactPresence): Promise<boolean> {
    const from = contactAddress(contact, this.#context.domain);
    const presence = presenceStanza(from, to, shown);
    const capacity = contact.kind === "host" && shown.available ? this.#capacityOf(contact.id) : undefined;
    if (capacity !== undefined) presence.append(capacityMessage.encode(capacity));
    const outcome = await this.#context.bus.send(presence);
    return outcome.kind === "sent";
  }

  #planLook(): void {
    this.#cancelLook = this.#context.clock.setTimer(LOOK_AGAIN_MS, () => {
      for (const contact of this.#watches.contacts()) this.changed(contact);
      this.#planLook();
    });
  }
}

const GONE: ContactPresence = { available: false, status: "gone" };
