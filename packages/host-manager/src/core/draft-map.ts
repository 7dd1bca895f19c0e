/** A map under change within one turn: copied at the first write only, and it remembers which keys were written. */
export class DraftMap<Key, Value> {
  #map: ReadonlyMap<Key, Value>;
  #own: Map<Key, Value> | undefined;
  readonly written = new Set<Key>();

  constructor(map: ReadonlyMap<Key, Value>) {
    this.#map = map;
  }

  get map(): ReadonlyMap<Key, Value> {
    return this.#map;
  }

  get(key: Key): Value | undefined {
    return this.#map.get(key);
  }

  has(key: Key): boolean {
    return this.#map.has(key);
  }

  get size(): number {
    return this.#map.size;
  }

  set(key: Key, value: Value): void {
    this.#writable().set(key, value);
    this.written.add(key);
  }

  delete(key: Key): void {
    if (!this.#map.has(key)) return;
    this.#writable().delete(key);
    this.written.add(key);
  }

  #writable(): Map<Key, Value> {
    if (this.#own === undefined) {
      this.#own = new Map(this.#map);
      this.#map = this.#own;
    }
    return this.#own;
  }
}
