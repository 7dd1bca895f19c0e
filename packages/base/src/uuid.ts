import { v7 } from "uuid";
import type { Clock } from "./clock.ts";
import type { Rng } from "./rng.ts";

/** A new UUIDv7 (RFC 9562 section 5.7): ordered by time of making, unique in the federation. */
export function uuidv7(clock: Clock, rng: Rng): string {
  return v7({ msecs: Math.floor(clock.wallMs()), random: rng.bytes(16) });
}
