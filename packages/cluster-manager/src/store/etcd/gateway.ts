import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Clock } from "@muster/base";

/** Texts in PEM. With `cert` and `key` this side shows a certificate, too. */
export type EtcdTls = { readonly ca?: string; readonly cert?: string; readonly key?: string };

export type GatewayOptions = {
  readonly clock: Clock;
  /** Base addresses of the members: `http://…:2379` or `https://…:2379`. */
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTls | undefined;
  /** How long one member has for one answer. */
  readonly requestMs: number;
};

/** What became of one request to one member. */
export type Exchange =
  | { readonly kind: "answered"; readonly status: number; readonly text: string }
  /** Never reached the member: no connection. */
  | { readonly kind: "unsent"; readonly message: string }
  /** The connection broke, or no answer came in time. */
  | { readonly kind: "unclear"; readonly message: string }
  | { readonly kind: "too-large"; readonly message: string };

export type Call = {
  readonly endpoint: number;
  readonly path: string;
  /** Without a body: GET. */
  readonly body?: object;
  readonly token?: string | undefined;
};

export type StreamEnd = { readonly message: string };

export const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
/** Idle connections kept a member; a manager has one commit and a handful of reads under way. */
const FREE_SOCKETS_MAX = 4;

/** Requests to the members' JSON gateways over kept-alive connections; picks no member itself and repeats nothing. */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #urls: readonly URL[];
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;
  readonly #open = new Set<ClientRequest>();

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#urls = options.endpoints.map((endpoint) => new URL(endpoint));
    const agent = { keepAlive: true, keepAliveMsecs: 1_000, maxFreeSockets: FREE_SOCKETS_MAX };
    this.#http = new HttpAgent(agent);
    this.#https = new HttpsAgent({ ...agent, ...options.tls });
  }

  get size(): number {
    return this.#urls.length;
  }

  /** Never rejects. */
  ask(call: Call): Promise<Exchange> {
    return new Promise((resolve) => {
      let reached = false;
      const request = this.#start(call);
      const where = this.#urls[call.endpoint]?.host ?? "";
      const end = (exchange: Exchange): void => {
        cancel();
        this.#open.delete(request);
        resolve(exchange);
      };
      const broke = (message: string): void => {
        end({ kind: reached ? "unclear" : "unsent", message: `${where}: ${message}` });
        request.destroy();
      };
      const cancel = this.#options.clock.setTimer(this.#options.requestMs, () =>
        broke(`no answer in ${this.#options.requestMs} ms`),
      );
      whenReached(request, () => {
        reached = true;
      });
      request.on("error", (cause) => broke(textOf(cause)));
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size <= ANSWER_BYTES_MAX) return;
          end({ kind: "too-large", message: `${where}: the answer is larger than ${ANSWER_BYTES_MAX} bytes` });
          request.destroy();
        });
        response.on("error", (cause) => broke(textOf(cause)));
        response.on("aborted", () => broke("the connection broke within the answer"));
        response.on("end", () =>
          end({ kind: "answered", status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
        );
      });
    });
  }

  /** Opens a stream of lines (a watch). `onEnd` is called once, also after `close`. */
  stream(call: Call, onLine: (line: string) => void, onEnd: (end: StreamEnd) => void): { close(): void } {
    const request = this.#start(call);
    let over = false;
    const end = (message: string): void => {
      if (over) return;
      over = true;
      this.#open.delete(request);
      request.destroy();
      onEnd({ message });
    };
    request.on("error", (cause) => end(textOf(cause)));
    request.on("response", (response) => readLines(response, (line) => over || onLine(line), end));
    return { close: () => end("closed") };
  }

  close(): void {
    for (const request of [...this.#open]) request.destroy(new Error("the client is closed"));
    this.#http.destroy();
    this.#https.destroy();
  }

  #start({ endpoint, path, body, token }: Call): ClientRequest {
    const url = this.#urls[endpoint % this.#urls.length];
    if (url === undefined) throw new Error("a gateway needs an endpoint");
    const text = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const secure = url.protocol === "https:";
    const request = (secure ? httpsRequest : httpRequest)(new URL(path, url), {
      method: text === undefined ? "GET" : "POST",
      agent: secure ? this.#https : this.#http,
      headers: {
        ...(text === undefined ? {} : { "content-type": "application/json", "content-length": text.length }),
        ...(token === undefined ? {} : { authorization: token }),
      },
    });
    this.#open.add(request);
    request.end(text);
    return request;
  }
}

/** Before the connection stands, nothing of the request can have arrived; from then on it may have. */
function whenReached(request: ClientRequest, reached: () => void): void {
  request.on("socket", (socket) => {
    const handshake = "secureConnecting" in socket && socket.secureConnecting === true;
    if (!socket.connecting && !handshake) reached();
    else socket.once("encrypted" in socket ? "secureConnect" : "connect", reached);
  });
}

function readLines(response: IncomingMessage, onLine: (line: string) => void, onEnd: (message: string) => void): void {
  let parts: Buffer[] = [];
  let size = 0;
  response.on("data", (chunk: Buffer) => {
    let rest = chunk;
    for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10)) {
      parts.push(rest.subarray(0, at));
      const line = Buffer.concat(parts).toString("utf8");
      parts = [];
      size = 0;
      rest = rest.subarray(at + 1);
      if (line !== "") onLine(line);
    }
    if (rest.length === 0) return;
    parts.push(rest);
    size += rest.length;
    if (size > ANSWER_BYTES_MAX) onEnd(`a line is longer than ${ANSWER_BYTES_MAX} bytes`);
  });
  response.on("end", () => {
    const line = Buffer.concat(parts).toString("utf8");
    if (line !== "") onLine(line);
    onEnd(`the stream ended (status ${response.statusCode})`);
  });
  response.on("aborted", () => onEnd("the connection broke"));
  response.on("error", (cause) => onEnd(textOf(cause)));
}

function textOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) return textOf(cause.errors[0]);
  return cause instanceof Error ? cause.message : String(cause);
}
