import type { Clock } from "./clock.ts";

export type Closer = { readonly name: string; readonly close: () => Promise<void> | void };

/** How closing went: which parts did not finish in time or failed. */
export type ShutdownReport = { readonly late: readonly string[]; readonly failed: readonly string[] };

/**
 * Closes the parts of a process in the reverse order of their start, each at most `deadlineMs`, whatever the others do:
 * one hung part never keeps a socket or a child of another one open.
 */
export class Shutdown {
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  #closers: Closer[] = [];
  #running: Promise<ShutdownReport> | undefined;

  constructor(clock: Clock, deadlineMs = 5_000) {
    this.#clock = clock;
    this.#deadlineMs = deadlineMs;
  }

  get started(): boolean {
    return this.#running !== undefined;
  }

  add(name: string, close: Closer["close"]): void {
    this.#closers.push({ name, close });
  }

  /** Runs once; later calls get the same promise. */
  run(): Promise<ShutdownReport> {
    this.#running ??= this.#closeAll();
    return this.#running;
  }

  async #closeAll(): Promise<ShutdownReport> {
    const late: string[] = [];
    const failed: string[] = [];
    for (const closer of this.#closers.reverse()) {
      const end = await this.#closeOne(closer);
      if (end === "late") late.push(closer.name);
      if (end === "failed") failed.push(closer.name);
    }
    this.#closers = [];
    return { late, failed };
  }

  async #closeOne({ close }: Closer): Promise<"closed" | "late" | "failed"> {
    let cancel = (): void => {};
    const deadline = new Promise<"late">((resolve) => {
      cancel = this.#clock.setTimer(this.#deadlineMs, () => resolve("late"));
    });
    const closing = (async () => {
      try {
        await close();
        return "closed" as const;
      } catch {
        return "failed" as const;
      }
    })();
    const end = await Promise.race([closing, deadline]);
    cancel();
    return end;
  }
}
