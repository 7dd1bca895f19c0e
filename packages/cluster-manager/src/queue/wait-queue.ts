/** The VMs that wait, in their order: higher priority first, then the older. Derived from the records, never stored. */
import type { VmRecord } from "../core/records.ts";

export type Waiting = { readonly record: Pick<VmRecord, "id" | "priority" | "queueOrder"> };

export class WaitQueue<Entry extends Waiting> {
  readonly #entries: Entry[] = [];

  get size(): number {
    return this.#entries.length;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  add(entry: Entry): void {
    const at = this.#positionFor(entry);
    this.#entries.splice(at, 0, entry);
  }

  /** Takes it out. Priority and order must be what they were when it went in. */
  remove(entry: Entry): void {
    const at = this.#positionFor(entry);
    if (this.#entries[at]?.record.id === entry.record.id) this.#entries.splice(at, 1);
  }

  /** Place in the queue from 1, or `undefined` when it does not wait. */
  positionOf(entry: Entry): number | undefined {
    const at = this.#positionFor(entry);
    return this.#entries[at]?.record.id === entry.record.id ? at + 1 : undefined;
  }

  #positionFor(entry: Entry): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#entries[middle];
      if (other !== undefined && before(other.record, entry.record)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function before(left: Waiting["record"], right: Waiting["record"]): boolean {
  if (left.priority !== right.priority) return left.priority > right.priority;
  if (left.queueOrder !== right.queueOrder) return left.queueOrder < right.queueOrder;
  return left.id < right.id;
}
