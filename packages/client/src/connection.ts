import { backoffMs, type Clock, err, ok, type Result, type Rng } from "@muster/base";
import { problemSchema, type Refusal, refusal } from "@muster/protocol";

/** Where and as whom to talk to a site. With several managers, all their addresses: whoever leads answers. */
export type Endpoint = {
  /** Base addresses, `http://127.0.11.1:8080`. */
  readonly urls: readonly string[];
  readonly token: string;
};

export type ConnectionOptions = {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Deadline of one try. */
  readonly timeoutMs?: number;
  /** How long to go on trying while no leader answers, all tries together. */
  readonly patienceMs?: number;
};

export type ApiRequest = {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  /** Request id of a write: the same on every try, so that a retry never does a thing twice (B1). */
  readonly idempotencyKey?: string;
};

/** Largest answer that is read (S2). */
const BODY_BYTES_MAX = 32 * 1024 * 1024;

/** Longest pause between two rounds of tries while nobody leads: a take-over is a matter of less than a second. */
const PAUSE = { baseMs: 20, maxMs: 150 };
/** Deadline of a first try where there are other addresses: a manager that hangs takes connections and never answers. */
const BRIEF_MS = 2_500;
/** After so long without its answer the others are asked as well, each time under the same request id. */
const SILENCE_MS = 250;
const SILENCE_AGAIN_MS = 50;
/** Which address answered last, by endpoint: the leader's, most likely. */
const lastGood = new WeakMap<Endpoint, number>();

/**
 * Sends one request to whichever manager leads, riding through a change of leader: unreachable, *not leader* and
 * *unavailable* are tried at the next address at once, and after a round of all of them with backoff; everything else is
 * final.
 */
export async function callApi(options: ConnectionOptions, request: ApiRequest): Promise<Result<unknown, Refusal>> {
  const { endpoint, clock, rng } = options;
  const { urls } = endpoint;
  const deadlineMs = clock.nowMs() + (options.patienceMs ?? 15_000);
  const first = lastGood.get(endpoint) ?? 0;
  const lastRound: Refusal[] = [];
  for (let attempt = 0; ; attempt += 1) {
    if (urls.length === 0)
      return err(refusal("unavailable", "no-endpoint", "no address of a cluster manager is configured"));
    const brief = attempt < urls.length && urls.length > 1;
    const { tried, place } = await askAt((first + attempt) % urls.length, options, request, brief);
    if (tried.ok || !isPassing(tried.error)) {
      lastGood.set(endpoint, place);
      return tried;
    }
    lastRound.push(tried.error);
    if (lastRound.length > urls.length) lastRound.shift();
    const round = Math.floor((attempt + 1) / urls.length);
    const waitMs = (attempt + 1) % urls.length === 0 ? backoffMs({ attempt: round - 1, ...PAUSE }, rng) : 0;
    if (clock.nowMs() + waitMs > deadlineMs) return err(mostTelling(lastRound, tried.error));
    await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve));
  }
}

type Tried = { readonly tried: Result<unknown, Refusal>; readonly place: number };

function isFinal(tried: Result<unknown, Refusal>): boolean {
  return tried.ok || !isPassing(tried.error);
}

/** Asks the manager at one place, and those at the others while it is silent: whoever has the last word is heard. */
async function askAt(place: number, options: ConnectionOptions, request: ApiRequest, brief: boolean): Promise<Tried> {
  const over = new AbortController();
  const ask = async (at: number): Promise<Tried> => {
    const url = options.endpoint.urls[at] ?? "";
    return { tried: await tryOnce(url, options, request, brief, over.signal), place: at };
  };
  const asked = brief ? [ask(place), askOthers(place, options, ask, over.signal)] : [ask(place)];
  const first = await Promise.race(asked);
  over.abort();
  return first;
}

/** Comes back only with a final answer, or when it is over and nobody listens any more. */
async function askOthers(
  place: number,
  { endpoint, clock }: ConnectionOptions,
  ask: (at: number) => Promise<Tried>,
  over: AbortSignal,
): Promise<Tried> {
  const pause = (delayMs: number): Promise<void> =>
    new Promise((resolve) => {
      const cancel = clock.setTimer(delayMs, resolve);
      over.addEventListener("abort", cancel, { once: true });
    });
  await pause(SILENCE_MS);
  for (let turn = 1; ; turn += 1) {
    const at = (place + turn) % endpoint.urls.length;
    const other = at === place ? undefined : await ask(at);
    if (other !== undefined && (over.aborted || isFinal(other.tried))) return other;
    await pause(SILENCE_AGAIN_MS);
  }
}

/** Of what each manager said last: the leader's own reason before *not leader*, and that before no answer at all. */
function mostTelling(refusals: readonly Refusal[], last: Refusal): Refusal {
  const weight = ({ kind, reason }: Refusal): number => (reason === "unreachable" ? 0 : kind === "not-leader" ? 1 : 2);
  return refusals.reduce((best, next) => (weight(next) >= weight(best) ? next : best), refusals[0] ?? last);
}

export function isPassing({ kind }: Refusal): boolean {
  return kind === "unavailable" || kind === "not-leader";
}

async function tryOnce(
  url: string,
  options: ConnectionOptions,
  request: ApiRequest,
  brief: boolean,
  over: AbortSignal,
): Promise<Result<unknown, Refusal>> {
  const { endpoint, timeoutMs: patientMs = 10_000 } = options;
  const signal = AbortSignal.any([AbortSignal.timeout(brief ? Math.min(patientMs, BRIEF_MS) : patientMs), over]);
  try {
    const reached = await fetch(new URL(request.path, url), {
      method: request.method,
      headers: headersOf(endpoint.token, request),
      signal,
      // A redirect elsewhere would take the request there without its token; whoever leads is found among `urls`.
      redirect: "manual",
      ...(request.body !== undefined ? { body: JSON.stringify(request.body) } : {}),
    });
    const text = await readBounded(reached);
    if (text === undefined) return err(tooLarge(url));
    return answerOf(reached, text);
  } catch (cause) {
    return err(unreachable(url, cause));
  }
}

function answerOf({ ok: success, status }: Response, text: string): Result<unknown, Refusal> {
  const body = parsed(text);
  if (!success) return err(refusalOf(status, body));
  if (body === undefined && text !== "")
    return err(refusal("internal", "unexpected-answer", "what answers there does not speak JSON; is it a manager?"));
  return ok(body);
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function headersOf(token: string, request: ApiRequest): Record<string, string> {
  return {
    authorization: `Bearer ${token}`,
    accept: "application/json",
    ...(request.body !== undefined ? { "content-type": "application/json" } : {}),
    ...(request.idempotencyKey !== undefined ? { "idempotency-key": request.idempotencyKey } : {}),
  };
}

/** The whole body, or `undefined` for one over the bound. */
export async function readBounded(response: Response): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (bytes > BODY_BYTES_MAX) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** The refusal behind a problem document (RFC 9457); anything else that is no success is taken by its status. */
export function refusalOf(status: number, body: unknown): Refusal {
  const problem = problemSchema.safeParse(body);
  if (problem.success) {
    const { kind, reason, detail, faults = [], retryAfterMs } = problem.data;
    const untold = faults.filter(({ message }) => !detail.includes(message));
    const named = untold.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`)).join("; ");
    const message = named === "" ? detail : `${detail} (${named})`;
    const [first] = faults;
    return refusal(kind, reason, message, {
      ...(first !== undefined ? { field: first.field } : {}),
      ...(retryAfterMs !== undefined ? { retryAfterMs } : {}),
    });
  }
  if (status >= 300 && status < 400)
    return refusal("not-leader", "redirected", `the manager sends us elsewhere with status ${status}`);
  return status >= 500
    ? refusal("unavailable", "bad-gateway", `the manager answered with status ${status}`)
    : refusal("bad-request", "unexpected-status", `the manager answered with status ${status}`);
}

function tooLarge(url: string): Refusal {
  return refusal("internal", "answer-too-large", `the answer of ${url} is larger than ${BODY_BYTES_MAX} bytes`);
}

export function unreachable(url: string, cause: unknown): Refusal {
  const deepest = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const why = deepest instanceof Error ? deepest.message : String(deepest);
  return refusal("unavailable", "unreachable", `no answer from ${url}: ${why}; is the site running?`);
}
