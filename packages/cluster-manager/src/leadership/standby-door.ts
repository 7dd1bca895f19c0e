import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { type LeaderHint, standbyListener } from "../api/front-door.ts";

/** Longest time the leader has for its answer; then the caller is told who leads, as for everything else. */
const RELAY_MS = 2_000;
/** What is asked of any manager, to find out how the site stands. */
const SITE_PATH = "/v1/site";
/** Marks what was sent on already: two who take each other for the leader must not ask in circles. */
const RELAYED = "muster-relayed";

/**
 * What a standby answers: how the site stands, in the leader's own words and with the caller's own token, so that any
 * manager can be asked who leads; with everything else it sends callers to the leader.
 */
export function standbyDoor(hint: () => LeaderHint): RequestListener {
  const sendOn = standbyListener(hint);
  return (request, reply) => {
    const leader = hint();
    const isOurs = request.method === "GET" && request.url === SITE_PATH && request.headers[RELAYED] === undefined;
    if (!isOurs || leader === undefined) return sendOn(request, reply);
    relay(request, reply, leader.url).catch(() => sendOn(request, reply));
  };
}

async function relay({ headers }: IncomingMessage, reply: ServerResponse, leader: string): Promise<void> {
  const { authorization, accept } = headers;
  const answer = await fetch(new URL(SITE_PATH, leader), {
    headers: {
      [RELAYED]: "1",
      ...(authorization !== undefined && { authorization }),
      ...(accept !== undefined && { accept }),
    },
    signal: AbortSignal.timeout(RELAY_MS),
    redirect: "error",
  });
  const body = Buffer.from(await answer.arrayBuffer());
  reply
    .writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "application/json" })
    .end(body);
}
