/** Stands between a client and one etcd member, and loses or delays on demand. Run by tests. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

export class EtcdRelay {
  readonly endpoint: string;
  /** For transactions only; reads pass. `lose-marks`: those that make a staged commit count, and all after it. */
  mode: "pass" | "lose-answers" | "lose-marks" | "hold-requests" = "pass";
  lost = 0;
  readonly #server: Server;
  readonly #target: string;
  readonly #held: (() => Promise<string>)[] = [];

  private constructor(server: Server, endpoint: string, target: string) {
    this.#server = server;
    this.endpoint = endpoint;
    this.#target = target;
  }

  static async start(address: string, target: string): Promise<EtcdRelay> {
    const server = createServer((request, response) => void relay.#pass(request, response));
    server.listen(0, address);
    await once(server, "listening");
    const bound = server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    const relay = new EtcdRelay(server, `http://${address}:${port}`, target);
    return relay;
  }

  get held(): number {
    return this.#held.length;
  }

  /** Lets go of what was held, in order; answers what etcd says to each. */
  async release(): Promise<string[]> {
    const answers: string[] = [];
    for (const send of this.#held.splice(0)) answers.push(await send());
    return answers;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    request.on("error", () => response.destroy());
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString("utf8");
    const send = async (): Promise<{ readonly status: number; readonly text: string }> => {
      const answer = await fetch(this.#target + request.url, { method: "POST", body });
      return { status: answer.status, text: await answer.text() };
    };
    const isTxn = request.url === "/v3/kv/txn";
    if (isTxn && this.mode === "hold-requests") {
      this.#held.push(async () => (await send()).text);
      return;
    }
    if (isTxn && this.mode === "lose-marks" && this.lost > 0) {
      request.socket.destroy();
      return;
    }
    const { status, text } = await send();
    if (isTxn && (this.mode === "lose-answers" || (this.mode === "lose-marks" && holdsMark(body)))) {
      this.lost += 1;
      if (this.mode === "lose-answers") this.mode = "pass";
      request.socket.destroy();
      return;
    }
    response.writeHead(status, { "content-type": "application/json" }).end(text);
  }
}

function holdsMark(body: string): boolean {
  const txn: { readonly success?: readonly { readonly request_put?: { readonly value: string } }[] } = JSON.parse(body);
  return (txn.success ?? []).some(({ request_put }) =>
    Buffer.from(request_put?.value ?? "", "base64")
      .toString("utf8")
      .includes('"staged":'),
  );
}
