import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { problemOf, type Refusal, refusal } from "@muster/protocol";

/** Longest time a request may take to arrive, and a connection to be silent. */
const REQUEST_MS_MAX = 30_000;
const CONNECTION_MS_MAX = 60_000;

/**
 * The address of a manager's HTTP API for as long as the process lives: behind it the leader's API, or the word that
 * another manager leads.
 */
export class FrontDoor {
  readonly #server: Server;
  #listener: RequestListener;

  constructor(listener: RequestListener) {
    this.#listener = listener;
    // No bound of the server's own on a whole request: the content of an image takes as long as it takes.
    this.#server = createServer({ requestTimeout: 0, headersTimeout: REQUEST_MS_MAX }, (request, reply) => {
      if (request.headers["content-type"] !== "application/octet-stream") endWhenSlow(request);
      this.#listener(request, reply);
    });
    this.#server.timeout = CONNECTION_MS_MAX;
    this.#server.on("clientError", (_error, socket) => {
      if (socket.writable) socket.end(MALFORMED_HTTP);
    });
  }

  /** Opens the door; rejects where the address is taken. */
  listen(host: string, port: number): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.off("error", reject);
        const address = this.#server.address();
        if (address === null || typeof address === "string") reject(new Error("the API listens on no port"));
        else resolve(address);
      });
    });
  }

  /** Who answers from now on. Requests under way stay with whom they reached. */
  serve(listener: RequestListener): void {
    this.#listener = listener;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

/** Ends the connection of a request whose body does not come in time. */
function endWhenSlow(request: IncomingMessage): void {
  const timer = setTimeout(() => request.destroy(), REQUEST_MS_MAX);
  request.once("close", () => clearTimeout(timer));
  request.once("end", () => clearTimeout(timer));
}

/** Who leads, as far as it is known to one who does not. */
export type LeaderHint = { readonly manager: string; readonly url: string } | undefined;

/** How soon whoever was sent away does well to ask again. */
const RETRY_AFTER_MS = 200;

/**
 * What a manager answers that does not lead: it keeps no state to read from, so reads and writes alike are sent to the
 * leader (307, RFC 9110 section 15.4.8), or told to ask again where none is known.
 */
export function standbyListener(hint: () => LeaderHint): RequestListener {
  return (request, reply) => {
    // What was sent is not read: the connection is free for the next request only when it has gone by.
    request.resume();
    const [path = ""] = (request.url ?? "").split("?");
    if (path === "/healthz") return answer(reply, 200, "application/json", { status: "ok" });
    const leader = hint();
    if (path === "/readyz") return problem(reply, 503, standbyRefusal(leader));
    if (leader === undefined) return problem(reply, 503, standbyRefusal(leader));
    reply.setHeader("location", new URL(target(request), leader.url).href);
    return problem(reply, 307, standbyRefusal(leader));
  };
}

/** Path and query alone: an absolute target (RFC 9112 section 3.2.2) must not send anybody to another machine. */
function target({ url = "/" }: IncomingMessage): string {
  return url.startsWith("/") && !url.startsWith("//") ? url : "/";
}

function standbyRefusal(leader: LeaderHint): Refusal {
  const message =
    leader === undefined
      ? "this manager stands by, and no leader is known; ask again in a moment"
      : `this manager stands by; ${leader.manager} leads: ask ${leader.url}`;
  return refusal("not-leader", "standby", message, { retryAfterMs: RETRY_AFTER_MS });
}

function problem(reply: ServerResponse, status: number, refused: Refusal): void {
  if (status === 503) reply.setHeader("retry-after", Math.ceil((refused.retryAfterMs ?? 0) / 1_000));
  answer(reply, status, "application/problem+json; charset=utf-8", { ...problemOf(refused), status });
}

function answer(reply: ServerResponse, status: number, type: string, body: object): void {
  reply.writeHead(status, { "content-type": type }).end(JSON.stringify(body));
}

const MALFORMED_BODY = JSON.stringify({
  type: "urn:muster:problem:malformed-http",
  title: "bad request",
  status: 400,
  detail: "this is no HTTP request that can be read, or its head is too large",
  kind: "bad-request",
  reason: "malformed-http",
});
const MALFORMED_HTTP =
  "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/problem+json\r\n" +
  `content-length: ${Buffer.byteLength(MALFORMED_BODY)}\r\n\r\n${MALFORMED_BODY}`;
