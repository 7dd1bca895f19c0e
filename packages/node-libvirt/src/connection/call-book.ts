import type { CallFault } from "../fault.ts";
import type { Procedure } from "../table/procedure.ts";

/** A call from the moment it is made until the daemon is done with it. */
export interface Call {
  readonly procedure: Procedure<unknown, unknown>;
  readonly serial: number;
  readonly frame: Buffer;
  readonly answer: (body: Buffer, isError: boolean) => void;
  readonly reject: (fault: CallFault) => void;
  /** Told once, when the daemon can no longer be working on this call as far as this connection knows. */
  readonly released: () => void;
}

/** A call on the wire. An abandoned one has no caller any more, but still takes a place in the daemon. */
interface InFlight {
  readonly call: Call;
  abandoned: boolean;
}

/** What became of a reply. */
export type Match =
  | { readonly kind: "call"; readonly call: Call }
  | { readonly kind: "late" }
  | { readonly kind: "none" };

/**
 * Who is on the wire and who waits. A daemon stops reading a connection while `max_client_requests` of its calls
 * (5 unless configured) are unanswered, pings included, so no more than `maxInFlight` are ever sent; the rest wait
 * here, `maxWaiting` at most. A caller that gives up does not free its place: only the daemon's late reply does.
 */
export class CallBook {
  readonly #maxInFlight: number;
  readonly #maxWaiting: number;
  readonly #inFlight = new Map<number, InFlight>();
  readonly #waiting = new Map<number, Call>();
  #serial = 0;

  constructor(maxInFlight: number, maxWaiting: number) {
    this.#maxInFlight = maxInFlight;
    this.#maxWaiting = maxWaiting;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether another call would have to be refused. */
  get isFull(): boolean {
    return this.#inFlight.size >= this.#maxInFlight && this.#waiting.size >= this.#maxWaiting;
  }

  /** Whether every place is taken by a call whose caller has gone: nothing will move until the daemon answers one. */
  get isClogged(): boolean {
    if (this.#inFlight.size < this.#maxInFlight) return false;
    for (const { abandoned } of this.#inFlight.values()) if (!abandoned) return false;
    return true;
  }

  /** A serial number that no call on the wire or waiting bears; they wrap at 32 bits. */
  nextSerial(): number {
    do {
      this.#serial = this.#serial >= 0xffff_ffff ? 1 : this.#serial + 1;
    } while (this.#inFlight.has(this.#serial) || this.#waiting.has(this.#serial));
    return this.#serial;
  }

  /** Adds a call to those waiting. Follow with {@link takeReady}. */
  add(call: Call): void {
    this.#waiting.set(call.serial, call);
  }

  /** The next waiting call that may be sent now, which counts as sent from here on. */
  takeReady(): Call | undefined {
    if (this.#inFlight.size >= this.#maxInFlight) return undefined;
    const [first] = this.#waiting.values();
    if (first === undefined) return undefined;
    this.#waiting.delete(first.serial);
    this.#inFlight.set(first.serial, { call: first, abandoned: false });
    return first;
  }

  /** Matches a reply to its call and frees its place. */
  settle(serial: number, procedure: number, program: number): Match {
    const entry = this.#inFlight.get(serial);
    if (entry === undefined) return { kind: "none" };
    if (entry.call.procedure.number !== procedure || entry.call.procedure.program !== program) return { kind: "none" };
    this.#inFlight.delete(serial);
    entry.call.released();
    return entry.abandoned ? { kind: "late" } : { kind: "call", call: entry.call };
  }

  /** The caller gives up. Tells whether the call had been sent; if it had, its place stays taken. */
  abandon(serial: number): { readonly sent: boolean } {
    const waiting = this.#waiting.get(serial);
    if (waiting !== undefined) {
      this.#waiting.delete(serial);
      waiting.released();
      return { sent: false };
    }
    const entry = this.#inFlight.get(serial);
    if (entry !== undefined) entry.abandoned = true;
    return { sent: true };
  }

  /** Ends everything, because the connection has: every caller still there is told whether its call had been sent. */
  clear(fault: (sent: boolean) => CallFault): void {
    const inFlight = [...this.#inFlight.values()];
    const waiting = [...this.#waiting.values()];
    this.#inFlight.clear();
    this.#waiting.clear();
    for (const { call, abandoned } of inFlight) {
      call.released();
      if (!abandoned) call.reject(fault(true));
    }
    for (const call of waiting) {
      call.released();
      call.reject(fault(false));
    }
  }
}
