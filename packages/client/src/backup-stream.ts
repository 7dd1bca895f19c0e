import { backoffMs, err, ok, type Result } from "@muster/base";
import { type Refusal, refusal } from "@muster/protocol";
import { type ConnectionOptions, isPassing, parsed, readBounded, refusalOf, unreachable } from "./connection.ts";

/** Longest wait for the head of the answer, and for the next piece of it. */
const HEAD_MS_MAX = 15_000;
const PIECE_MS_MAX = 60_000;
const PAUSE = { baseMs: 50, maxMs: 1_000 };

/**
 * Begins a backup at whichever manager leads, and hands it on as it comes; a change of leader before the first piece is
 * ridden through. The pieces throw where the answer breaks off: then there is no backup, and it is to be begun anew.
 */
export async function readBackupStream(
  options: ConnectionOptions,
): Promise<Result<AsyncGenerator<Uint8Array>, Refusal>> {
  const { clock, rng, endpoint } = options;
  const deadlineMs = clock.nowMs() + (options.patienceMs ?? 15_000);
  let last = refusal("unavailable", "no-endpoint", "no address of a cluster manager is configured");
  for (let round = 0; ; round += 1) {
    for (const url of endpoint.urls) {
      const begun = await begin(url, options);
      if (begun.ok || !isPassing(begun.error)) return begun;
      if (last.kind !== "unavailable" || begun.error.kind === "unavailable") last = begun.error;
    }
    const waitMs = backoffMs({ attempt: round, ...PAUSE }, rng);
    if (endpoint.urls.length === 0 || clock.nowMs() + waitMs > deadlineMs) return err(last);
    await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve));
  }
}

async function begin(
  url: string,
  { endpoint, clock }: ConnectionOptions,
): Promise<Result<AsyncGenerator<Uint8Array>, Refusal>> {
  const abort = new AbortController();
  const cancel = clock.setTimer(HEAD_MS_MAX, () => abort.abort(new Error("no answer in time")));
  try {
    const answer = await fetch(new URL("/v1/backup", url), {
      headers: { authorization: `Bearer ${endpoint.token}`, accept: "application/x-ndjson" },
      redirect: "manual",
      signal: abort.signal,
    });
    if (answer.ok && answer.body !== null) return ok(pieces(answer.body, abort, clock));
    return err(refusalOf(answer.status, parsed((await readBounded(answer)) ?? "")));
  } catch (cause) {
    return err(unreachable(url, cause));
  } finally {
    cancel();
  }
}

async function* pieces(
  body: ReadableStream<Uint8Array>,
  abort: AbortController,
  clock: ConnectionOptions["clock"],
): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (;;) {
      const cancel = clock.setTimer(PIECE_MS_MAX, () => abort.abort(new Error("the manager fell silent")));
      const piece = await reader.read().finally(cancel);
      if (piece.done) return;
      yield piece.value;
    }
  } finally {
    abort.abort();
  }
}
