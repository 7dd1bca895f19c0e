import type { Clock } from "@muster/base";
import type { SiteClient } from "@muster/client";
import { renderView, type Screen } from "./render.ts";
import { takeSnapshot } from "./snapshot.ts";

export type ViewedSite = { readonly name: string; readonly client: SiteClient };

export type LiveViewOptions = {
  readonly sites: readonly ViewedSite[];
  readonly hints: readonly string[];
  readonly output: NodeJS.WriteStream;
  readonly clock: Clock;
  readonly color: boolean;
};

const REFRESH_MS = 1_000;
/** Lines of messages kept above the view. */
const MESSAGES_MAX = 4;

/** The federation on a terminal, drawn again every second; `say` puts a line above it. */
export class LiveView {
  readonly #options: LiveViewOptions;
  #messages: string[] = [];
  #stopped = false;
  #cancel: () => void = () => {};

  constructor(options: LiveViewOptions) {
    this.#options = options;
  }

  start(): void {
    // The alternate screen keeps what the terminal showed before (xterm control sequences, DECSET 1049 and 25).
    this.#options.output.write("\u001b[?1049h\u001b[?25l");
    void this.#refresh();
  }

  say(line: string): void {
    this.#messages = [...this.#messages, line].slice(-MESSAGES_MAX);
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancel();
    this.#options.output.write("\u001b[?25h\u001b[?1049l");
  }

  async #refresh(): Promise<void> {
    const { sites, hints, output, clock, color } = this.#options;
    const snapshots = await Promise.all(sites.map(({ name, client }) => takeSnapshot(name, client)));
    if (this.#stopped) return;
    // A terminal without a size (a serial line, a container's) says 0.
    const rows = output.rows || 40;
    const screen: Screen = { columns: output.columns || 100, rows: rows - this.#messages.length, color };
    const lines = [...renderView(snapshots, hints, screen), ...this.#messages];
    output.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join("\n")}\u001b[J`);
    this.#cancel = clock.setTimer(REFRESH_MS, () => void this.#refresh());
  }
}

/** The federation where there is no terminal: one plain line an event, until `signal` aborts. */
export async function followPlainly(
  sites: readonly ViewedSite[],
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(
    sites.map(async ({ name, client }) => {
      for await (const { kind, subject, message } of client.events(signal))
        say(`${name}: ${kind} ${subject}: ${message}`);
    }),
  );
}
