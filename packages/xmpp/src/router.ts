import type { Clock } from "@muster/base";
import { Element } from "ltx";
import type { IncomingIq, IqAnswer, IqHandler, SendOutcome, Unsubscribe } from "./bus.ts";
import { encodeStanzaFault, type StanzaFault, stanzaFault } from "./stanza-fault.ts";

export type IqRouterOptions = {
  readonly clock: Clock;
  /** Puts an answer on the link. */
  readonly send: (answer: Element) => Promise<SendOutcome>;
  /** Our own bare address: what an empty `from` means to a client (RFC 6120 section 8.1.2.1). */
  readonly ownAddress: () => string;
  /** A handler threw, or never answered: for the log. The asker hears no more than a condition (S3). */
  readonly onFault: (where: string, error: unknown) => void;
  /** Requests being handled at one time; one more is answered `resource-constraint` (S2). */
  readonly maxInFlight?: number;
  /** A handler slower than this is answered for, so that the asker is never left without (X4). */
  readonly answerWithinMs?: number;
};

/**
 * Routes incoming IQ requests by type, namespace and name of their one child, and sees that each gets exactly one
 * answer (X4, RFC 6120 section 8.2.3): the handler's, or a well-formed error.
 */
export class IqRouter {
  readonly #options: IqRouterOptions;
  readonly #routes = new Map<string, IqHandler>();
  #inFlight = 0;

  constructor(options: IqRouterOptions) {
    this.#options = options;
  }

  /** Adds a route. Throws when the route is taken: two owners of one request are a bug. */
  handle(type: "get" | "set", namespace: string, name: string, handler: IqHandler): Unsubscribe {
    const route = routeOf(type, namespace, name);
    if (this.#routes.has(route))
      throw new Error(`a handler for ${type} <${name} xmlns="${namespace}"/> is already set`);
    this.#routes.set(route, handler);
    return () => {
      if (this.#routes.get(route) === handler) this.#routes.delete(route);
    };
  }

  /** Takes an IQ that is no answer, whatever its shape. */
  accept(iq: Element): void {
    const request = this.#read(iq);
    if ("condition" in request) {
      this.refuse(iq, request);
      return;
    }
    const handler = this.#routes.get(routeOf(request.type, request.payload.getNS() ?? "", request.payload.getName()));
    if (handler === undefined) {
      this.refuse(iq, stanzaFault("service-unavailable"));
      return;
    }
    if (this.#inFlight >= (this.#options.maxInFlight ?? 1024)) {
      this.refuse(iq, stanzaFault("resource-constraint", "Too many requests are being handled; ask again later."));
      return;
    }
    this.#run(iq, request, handler);
  }

  /** Answers a request with an error; used also for what never got as far as a route. */
  refuse(iq: Element, fault: StanzaFault): void {
    void this.#answer(iq, { kind: "error", fault });
  }

  #read(iq: Element): IncomingIq | StanzaFault {
    const { type, id, from, to } = iq.attrs;
    if (type !== "get" && type !== "set") return stanzaFault("bad-request", "The type of an iq is get or set.");
    if (id === undefined || id === "") return stanzaFault("bad-request", "An iq needs an id.");
    const [payload, ...more] = iq.getChildElements();
    if (payload === undefined || more.length > 0) {
      return stanzaFault("bad-request", "An iq request carries exactly one child element.");
    }
    return { from: from || this.#options.ownAddress(), to: to || this.#options.ownAddress(), type, payload };
  }

  #run(iq: Element, request: IncomingIq, handler: IqHandler): void {
    const where = `${request.type} <${request.payload.getName()} xmlns="${request.payload.getNS()}"/>`;
    let open = true;
    this.#inFlight += 1;
    const finish = (answer: IqAnswer): void => {
      if (!open) return;
      open = false;
      this.#inFlight -= 1;
      cancelDeadline();
      void this.#answer(iq, answer);
    };
    const fail = (error: unknown): void => {
      this.#options.onFault(where, error);
      finish({ kind: "error", fault: stanzaFault("internal-server-error") });
    };
    const cancelDeadline = this.#options.clock.setTimer(this.#options.answerWithinMs ?? 30_000, () => {
      fail(new Error("the handler did not answer in time"));
    });
    try {
      const answer = handler(request);
      if (answer instanceof Promise) answer.then(finish, fail);
      else finish(answer);
    } catch (error) {
      fail(error);
    }
  }

  async #answer(iq: Element, answer: IqAnswer): Promise<void> {
    const outcome = await this.#options.send(encodeAnswer(iq, answer));
    if (outcome.kind !== "too-big" && outcome.kind !== "malformed") return;
    this.#options.onFault("answer", new Error(outcome.message));
    const fault =
      outcome.kind === "too-big"
        ? stanzaFault("resource-constraint", "The answer is larger than a stanza may be; ask for less at a time.")
        : stanzaFault("internal-server-error");
    await this.#options.send(encodeAnswer(iq, { kind: "error", fault }));
  }
}

function encodeAnswer(iq: Element, answer: IqAnswer): Element {
  const type = answer.kind === "result" ? "result" : "error";
  const element = new Element("iq", { type, id: iq.attrs.id, to: iq.attrs.from, from: iq.attrs.to });
  if (answer.kind === "error") element.append(encodeStanzaFault(answer.fault));
  else if (answer.payload !== undefined) element.append(answer.payload);
  return element;
}

function routeOf(type: string, namespace: string, name: string): string {
  return `${type} ${name} ${namespace}`;
}
