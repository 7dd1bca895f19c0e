/** Users at consoles of guests: bounded sessions that end when nobody asks for them any more. They change no record. */
import type { Duplex } from "node:stream";
import { type CancelTimer, type Clock, err, ok, type Result } from "@muster/base";
import { CONSOLE_BYTES_MAX, type ConsoleOrder, type ConsoleState, type Refusal, refusal } from "@muster/protocol";
import type { Hypervisor } from "../hypervisor/port.ts";

/** Sessions of one host at once (S2). */
export const SESSIONS_MAX = 16;
/** A session of which nobody asked for so long ends: its user or its leader is gone. */
export const IDLE_MS = 30_000;

type Session = {
  readonly vm: string;
  readonly console: Duplex;
  /** The last input typed and the last output told, so that what is said again is neither typed nor lost. */
  typed: number;
  told: { readonly sequence: number; readonly data: Buffer };
  open: boolean;
  cancelIdle: CancelTimer;
};

export class ConsoleDesk {
  readonly #sessions = new Map<string, Session>();
  readonly #opening = new Set<string>();
  readonly #clock: Clock;
  readonly #hypervisor: Pick<Hypervisor, "console">;

  constructor(clock: Clock, hypervisor: Pick<Hypervisor, "console">) {
    this.#clock = clock;
    this.#hypervisor = hypervisor;
  }

  async take(order: ConsoleOrder): Promise<Result<ConsoleState, Refusal>> {
    const known = this.#sessions.get(order.session);
    if (known !== undefined && known.vm !== order.vm) return err(unknown());
    if (order.action === "close") {
      if (known !== undefined) this.#end(order.session, known);
      return ok({ session: order.session, open: false, data: "" });
    }
    if (known === undefined) return order.action === "open" ? this.#open(order) : err(unknown());
    this.#keep(order.session, known);
    if (order.action === "open") return ok({ session: order.session, open: known.open, data: "" });
    if (order.action === "input") return this.#type(order, known);
    return this.#read(order, known);
  }

  /** Leaves all consoles; the guests go on. */
  close(): void {
    for (const [id, session] of this.#sessions) this.#end(id, session);
  }

  async #open({ session: id, vm, force = false }: ConsoleOrder): Promise<Result<ConsoleState, Refusal>> {
    if (this.#sessions.size + this.#opening.size >= SESSIONS_MAX)
      return err(
        refusal("resource-constraint", "consoles-full", `${SESSIONS_MAX} consoles are open on this host: try later`),
      );
    if (this.#opening.has(id)) return err(refusal("conflict", "console-opening", "this session is being opened"));
    this.#opening.add(id);
    const opened = await this.#hypervisor.console?.(vm, force).finally(() => this.#opening.delete(id));
    this.#opening.delete(id);
    if (opened === undefined)
      return err(refusal("not-acceptable", "no-console", "this host's hypervisor has no consoles"));
    if (!opened.ok) return err(refusal("conflict", "console-refused", `${opened.error}; --force takes it over`));
    const told = { sequence: 0, data: Buffer.alloc(0) };
    const session: Session = { vm, console: opened.value, typed: 0, told, open: true, cancelIdle: () => {} };
    const over = (): void => {
      session.open = false;
    };
    for (const event of ["end", "close", "error"]) session.console.on(event, over);
    this.#sessions.set(id, session);
    this.#keep(id, session);
    return ok({ session: id, open: true, data: "" });
  }

  #type({ session: id, sequence, data = "" }: ConsoleOrder, session: Session): Result<ConsoleState, Refusal> {
    if (sequence > session.typed && session.open) {
      // A guest that reads nothing for long makes the stream full: what it cannot take is refused, not kept.
      if (session.console.writableNeedDrain)
        return err(
          refusal("resource-constraint", "console-full", "the guest does not read what is typed", {
            retryAfterMs: 500,
          }),
        );
      session.typed = sequence;
      session.console.write(Buffer.from(data, "base64"));
    }
    return ok({ session: id, open: session.open, data: "" });
  }

  async #read(order: ConsoleOrder, session: Session): Promise<Result<ConsoleState, Refusal>> {
    const { sequence, waitMs = 0 } = order;
    if (sequence !== session.told.sequence) {
      let data = part(session.console);
      if (data === undefined && session.open) {
        await this.#readable(session.console, waitMs);
        data = part(session.console);
      }
      session.told = { sequence, data: data ?? Buffer.alloc(0) };
    }
    const { data } = session.told;
    // What it wrote last is read before the end is told.
    const open = session.open || data.length > 0;
    return ok({ session: order.session, open, data: data.toString("base64") });
  }

  #readable(console: Duplex, waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const events = ["readable", "end", "close", "error"];
      const end = (): void => {
        cancel();
        for (const event of events) console.off(event, end);
        resolve();
      };
      const cancel = this.#clock.setTimer(waitMs, end);
      for (const event of events) console.on(event, end);
    });
  }

  #keep(id: string, session: Session): void {
    session.cancelIdle();
    session.cancelIdle = this.#clock.setTimer(IDLE_MS, () => this.#end(id, session));
  }

  #end(id: string, session: Session): void {
    session.cancelIdle();
    this.#sessions.delete(id);
    session.open = false;
    session.console.destroy();
  }
}

/** At most one message full of what has come. */
function part(console: Duplex): Buffer | undefined {
  const read: unknown = console.read(Math.min(console.readableLength, CONSOLE_BYTES_MAX) || undefined);
  if (!Buffer.isBuffer(read)) return undefined;
  if (read.length <= CONSOLE_BYTES_MAX) return read;
  console.unshift(read.subarray(CONSOLE_BYTES_MAX));
  return read.subarray(0, CONSOLE_BYTES_MAX);
}

function unknown(): Refusal {
  return refusal("item-not-found", "no-session", "this session is over: begin a new one");
}
