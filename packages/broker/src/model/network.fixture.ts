import type { Rng, VirtualClock } from "@muster/base";

/** How bad the line is. A message is never longer on its way than `delayMsMax`. */
export type Weather = { loss: number; duplicate: number; delayMsMax: number };

/** A line between sites that loses, repeats, delays and reorders; a partition loses everything to and from a site. */
export class Network {
  readonly weather: Weather;
  readonly partitioned = new Set<string>();
  readonly #clock: VirtualClock;
  readonly #rng: Rng;

  constructor(clock: VirtualClock, rng: Rng, weather: Weather) {
    this.#clock = clock;
    this.#rng = rng;
    this.weather = weather;
  }

  /** Carries one message between the borrower and `site`, in either direction. */
  carry(site: string, deliver: () => void): void {
    const copies = this.#rng.next() < this.weather.duplicate ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      if (this.#rng.next() < this.weather.loss) continue;
      this.#clock.setTimer(this.#delayMs(), () => {
        if (!this.partitioned.has(site)) deliver();
      });
    }
  }

  /** Mostly quick, sometimes very late. */
  #delayMs(): number {
    const late = this.#rng.next() < 0.1;
    return 1 + this.#rng.int(late ? this.weather.delayMsMax : 20);
  }
}
