import type { EventView } from "@muster/protocol";

/** An event and the project it belongs to, where it belongs to one: others are not told. */
export type RingEvent = { readonly view: EventView; readonly project?: string | undefined };

export type EventListener = (event: RingEvent) => void;

/** Ids of one term: far apart, so that they grow across leaderships and restarts (terms only grow). */
const IDS_PER_TERM = 1_000_000_000;

/** The last events of this leadership, bounded; followers get what they missed as far as it is still here. */
export class EventRing {
  readonly #capacity: number;
  readonly #listeners = new Set<EventListener>();
  #events: RingEvent[] = [];
  #nextId: number;

  constructor(term: number, capacity = 1_000) {
    this.#capacity = capacity;
    this.#nextId = term * IDS_PER_TERM;
  }

  push(event: Omit<EventView, "id" | "at">, at: string, project?: string): void {
    const entry = { view: { ...event, id: this.#nextId, at }, project };
    this.#nextId += 1;
    this.#events.push(entry);
    if (this.#events.length > 2 * this.#capacity) this.#events = this.#events.slice(-this.#capacity);
    for (const listener of [...this.#listeners]) listener(entry);
  }

  /** Events after `id`, oldest first, and whether some in between are not kept any more. */
  after(id: number): { readonly events: readonly RingEvent[]; readonly missed: boolean } {
    const kept = this.#events.slice(-this.#capacity);
    const oldest = kept[0]?.view.id ?? this.#nextId;
    return { events: kept.filter(({ view }) => view.id > id), missed: id + 1 < oldest && id < this.#nextId - 1 };
  }

  follow(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
