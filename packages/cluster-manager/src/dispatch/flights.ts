import type { Flight } from "./flight.ts";

/** The commands to one host that are under way, by VM; knows when to look at them, so that nobody looks all the time. */
export class Flights {
  readonly #byVm = new Map<string, Flight>();
  #dueMs = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#byVm.size;
  }

  /** Nothing is due before; what is due may be gone again by then. */
  get dueMs(): number {
    return this.#byVm.size === 0 ? Number.POSITIVE_INFINITY : this.#dueMs;
  }

  get(vm: string): Flight | undefined {
    return this.#byVm.get(vm);
  }

  has(vm: string): boolean {
    return this.#byVm.has(vm);
  }

  set(vm: string, flight: Flight): void {
    this.#byVm.set(vm, flight);
    this.#dueMs = Math.min(this.#dueMs, flight.dueMs);
  }

  delete(vm: string): void {
    this.#byVm.delete(vm);
  }

  clear(): void {
    this.#byVm.clear();
  }

  byId(command: string): Flight | undefined {
    for (const flight of this.#byVm.values()) if (flight.command.id === command) return flight;
    return undefined;
  }

  /** Says when the flight is to be looked at next. */
  defer(flight: Flight, dueMs: number): void {
    flight.dueMs = dueMs;
    this.#dueMs = Math.min(this.#dueMs, dueMs);
  }

  /** Those that are due now. Each is to be deferred, or to end. */
  due(nowMs: number): readonly Flight[] {
    if (nowMs < this.dueMs) return [];
    const due: Flight[] = [];
    this.#dueMs = Number.POSITIVE_INFINITY;
    for (const flight of this.#byVm.values()) {
      if (flight.dueMs <= nowMs) due.push(flight);
      else this.#dueMs = Math.min(this.#dueMs, flight.dueMs);
    }
    return due;
  }
}
