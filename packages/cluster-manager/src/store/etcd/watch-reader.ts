import { type EtcdEvent, errorAnswerSchema, parsedJson, watchLineSchema } from "./messages.ts";

export type WatchEnd =
  | { readonly kind: "compacted"; readonly revision: number }
  | { readonly kind: "broken"; readonly message: string };

export type WatchOptions = {
  readonly prefix: string;
  readonly fromRevision: number;
  readonly onCreated: () => void;
  /** Whole revisions only, in order. */
  readonly onEvents: (events: readonly EtcdEvent[]) => void;
  /** Called once. */
  readonly onEnd: (end: WatchEnd) => void;
};

/** Events of one answer that came in pieces. */
const FRAGMENT_EVENTS_MAX = 100_000;

/** Puts the lines of a watch together: pieces of one answer are handed on together, so that no revision is torn. */
export class WatchReader {
  readonly #options: WatchOptions;
  readonly #onEnd: (end: WatchEnd) => void;
  readonly #onError: (code: number | undefined, text: string) => void;
  #pieces: EtcdEvent[] = [];
  #over = false;

  constructor(
    options: WatchOptions,
    onEnd: (end: WatchEnd) => void,
    onError: (code: number | undefined, text: string) => void,
  ) {
    this.#options = options;
    this.#onEnd = onEnd;
    this.#onError = onError;
  }

  take(line: string): "going" | "over" {
    const message = watchLineSchema.safeParse(parsedJson(line));
    if (!message.success || message.data.result === undefined) {
      const said = errorAnswerSchema.safeParse(parsedJson(line));
      const text = message.data?.error?.message ?? said.data?.error ?? said.data?.message ?? "not a watch's answer";
      this.#onError(said.data?.code, text);
      return this.end({ kind: "broken", message: text.slice(0, 500) });
    }
    const { created, canceled, compact_revision, cancel_reason, fragment, events } = message.data.result;
    if (compact_revision > 0) return this.end({ kind: "compacted", revision: compact_revision });
    if (canceled) {
      this.#onError(undefined, cancel_reason);
      return this.end({ kind: "broken", message: `etcd ended the watch: ${cancel_reason}` });
    }
    if (created) this.#options.onCreated();
    for (const event of events) this.#pieces.push(event);
    if (this.#pieces.length > FRAGMENT_EVENTS_MAX)
      return this.end({ kind: "broken", message: `more than ${FRAGMENT_EVENTS_MAX} changes at once` });
    if (fragment || this.#pieces.length === 0) return "going";
    this.#options.onEvents(this.#pieces);
    this.#pieces = [];
    return "going";
  }

  end(how: WatchEnd): "over" {
    if (!this.#over) {
      this.#over = true;
      this.#onEnd(how);
    }
    return "over";
  }
}
