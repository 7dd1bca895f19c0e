import { type EventView, eventViewSchema, type Refusal } from "@muster/protocol";
import { createParser } from "eventsource-parser";
import { type ConnectionOptions, parsed, refusalOf } from "./connection.ts";

/** Between two tries to join. */
const REJOIN_MS = 500;
/** Longest event that is taken from the stream (S2). */
const EVENT_CHARS_MAX = 64 * 1024;

/** Where to begin: with what the manager still remembers, or with what happens from now on. */
export type EventsFrom = "remembered" | "now";

/**
 * Follows `GET /v1/events` (server-sent events) until `signal` aborts, joining again after a break from the last id seen.
 * Yields nothing for what is no event of ours. Each time that the manager refuses to be followed, `onRefused` is told why.
 */
export async function* followEvents(
  options: ConnectionOptions,
  signal: AbortSignal,
  from: EventsFrom = "now",
  onRefused: (why: Refusal) => void = () => {},
): AsyncGenerator<EventView> {
  let lastId = from === "remembered" ? "0" : "";
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    const url = options.endpoint.urls[attempt % Math.max(1, options.endpoint.urls.length)];
    if (url === undefined) return;
    try {
      for await (const event of readStream(url, options.endpoint.token, lastId, signal, onRefused)) {
        lastId = String(event.id);
        yield event;
      }
    } catch {
      // A break in the stream is ordinary (leader change, restart): join again below.
    }
    if (!signal.aborted) await pause(options, REJOIN_MS, signal);
  }
}

/** Longest refusal that is read (S2). */
const REFUSAL_BYTES_MAX = 64 * 1024;

async function* readStream(
  url: string,
  token: string,
  lastId: string,
  signal: AbortSignal,
  onRefused: (why: Refusal) => void,
): AsyncGenerator<EventView> {
  const response = await fetch(new URL("/v1/events", url), {
    headers: {
      authorization: `Bearer ${token}`,
      accept: "text/event-stream",
      ...(lastId !== "" ? { "last-event-id": lastId } : {}),
    },
    signal,
  });
  if (response.body === null) return;
  if (!response.ok) {
    onRefused(refusalOf(response.status, parsed(await readText(response.body))));
    return;
  }
  const waiting: EventView[] = [];
  const parser = createParser({
    maxBufferSize: EVENT_CHARS_MAX,
    onEvent: ({ data }) => {
      const event = eventViewSchema.safeParse(safeJson(data));
      if (event.success) waiting.push(event.data);
    },
  });
  const decoder = new TextDecoder();
  for await (const part of response.body) {
    parser.feed(decoder.decode(part, { stream: true }));
    yield* waiting.splice(0);
  }
}

async function readText(body: ReadableStream<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.byteLength;
    if (bytes > REFUSAL_BYTES_MAX) return "";
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function pause({ clock }: ConnectionOptions, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.setTimer(delayMs, end);
    signal.addEventListener("abort", end);
  });
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
