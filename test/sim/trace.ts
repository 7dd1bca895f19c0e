/** The last things that happened, kept as they are and made into text only when somebody reads them. */

import { digestOf } from "@muster/protocol";

const KEPT = 400;
const LINE_MAX = 420;

type Entry = { readonly step: number; readonly atMs: number; readonly who: string; readonly what: () => unknown };

export class Trace {
  readonly #entries: Entry[] = [];
  #next = 0;
  #digest = 17;

  note(step: number, atMs: number, who: string, what: () => unknown): void {
    this.#entries[this.#next % KEPT] = { step, atMs, who, what };
    this.#next += 1;
    this.#digest = (Math.imul(this.#digest, 31) + Math.imul(step, 7) + atMs + who.length) >>> 0;
  }

  /** Of all steps so far and of the last lines in full. */
  digest(): string {
    return digestOf({ steps: this.#digest, lines: this.lines(KEPT) });
  }

  /** Oldest first; with `about`, only the lines that name it. */
  lines(count: number, about?: string): string[] {
    const from = Math.max(0, this.#next - KEPT);
    const all: string[] = [];
    for (let index = from; index < this.#next; index += 1) {
      const entry = this.#entries[index % KEPT];
      if (entry !== undefined) all.push(lineOf(entry));
    }
    return all.filter((line) => about === undefined || line.includes(about)).slice(-count);
  }
}

function lineOf({ step, atMs, who, what }: Entry): string {
  const said = what();
  const text = typeof said === "string" ? said : JSON.stringify(said);
  return `#${step} ${(atMs / 1_000).toFixed(3)}s ${who}: ${text}`.slice(0, LINE_MAX);
}
