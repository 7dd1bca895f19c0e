import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { until } from "../system/until.ts";

/** An ssh session in which the guest counts aloud, and when each number was heard. */
export class CountingSession {
  readonly #child: ChildProcess;
  readonly #numbers: number[] = [];
  #lastMs = performance.now();
  #silentMs = 0;
  #over = false;

  /** `words`: what ssh is told, up to the command. */
  constructor(words: readonly string[]) {
    this.#child = spawn("ssh", [...words, "count"], { stdio: ["ignore", "pipe", "ignore"] });
    this.#child.once("close", () => {
      this.#over = true;
    });
    if (this.#child.stdout === null) throw new Error("ssh has no standard output");
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#hear(Number(line)));
  }

  get numbers(): readonly number[] {
    return this.#numbers;
  }

  /** The longest that nothing was heard for, since it began to count. */
  get silentMs(): number {
    return this.#silentMs;
  }

  /** Waits until it has counted so much further than now; throws at once when the session ended. */
  async goesOn(by = 3, withinMs = 30_000): Promise<void> {
    const aim = this.#numbers.length + by;
    await until(
      () => `the session counts to ${aim}: it is at ${this.#numbers.at(-1)}`,
      () => {
        if (this.#over) throw new Error(`the session ended at ${this.#numbers.at(-1)}`);
        return this.#numbers.length >= aim;
      },
      withinMs,
    );
  }

  end(): void {
    this.#child.kill();
  }

  #hear(number: number): void {
    const nowMs = performance.now();
    if (this.#numbers.length > 0) this.#silentMs = Math.max(this.#silentMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    this.#numbers.push(number);
  }
}
