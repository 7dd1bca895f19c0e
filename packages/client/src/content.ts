import { backoffMs, err, ok, type Result } from "@muster/base";
import { type Refusal, refusal } from "@muster/protocol";
import { type ConnectionOptions, callApi, isPassing, parsed, refusalOf } from "./connection.ts";

/** Sendings of one file, a change of leader under way included. */
const TRIES_MAX = 3;
const PAUSE = { baseMs: 200, maxMs: 2_000 };

/**
 * Sends a file to whichever manager leads. Unlike other requests it takes as long as it takes, goes to one manager at a
 * time, and only to one that has just answered as the leader: `probe` is a path that only a leader answers.
 */
export async function sendContent(
  options: ConnectionOptions,
  path: string,
  probe: string,
  content: Blob,
): Promise<Result<unknown, Refusal>> {
  const { endpoint, clock, rng } = options;
  let last = refusal("unavailable", "no-endpoint", "no address of a cluster manager is configured");
  for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
    for (const url of endpoint.urls) {
      const leads = await callApi(
        { ...options, endpoint: { ...endpoint, urls: [url] }, patienceMs: 0 },
        {
          method: "GET",
          path: probe,
        },
      );
      const sent = leads.ok ? await sendOnce(new URL(path, url), endpoint.token, content) : leads;
      if (sent.ok || !isPassing(sent.error)) return sent;
      last = sent.error;
    }
    await new Promise<void>((resolve) => clock.setTimer(backoffMs({ attempt, ...PAUSE }, rng), resolve));
  }
  return err(last);
}

async function sendOnce(url: URL, token: string, content: Blob): Promise<Result<unknown, Refusal>> {
  try {
    const reached = await fetch(url, {
      method: "PUT",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/octet-stream" },
      redirect: "manual",
      body: content,
    });
    const body = parsed(await reached.text());
    return reached.ok ? ok(body) : err(refusalOf(reached.status, body));
  } catch (cause) {
    const deepest = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const why = deepest instanceof Error ? deepest.message : String(deepest);
    return err(refusal("unavailable", "broken-off", `the transfer to ${url.host} broke off: ${why}`));
  }
}
