import { randomUUID } from "node:crypto";
import type { CancelTimer, Clock } from "@muster/base";
import { Element } from "ltx";
import { bareAddress, domainOf, sameAddress } from "./address.ts";
import type { IqOutcome, IqRequest, SendOutcome } from "./bus.ts";
import { decodeStanzaFault } from "./stanza-fault.ts";

export type IqCallerOptions = {
  readonly clock: Clock;
  readonly send: (iq: Element) => Promise<SendOutcome>;
  /** Our own full address while online; "" before. */
  readonly ownAddress: () => string;
  /**
   * Whether an answer without `from` may stand for our own account or server. Only a client's server leaves it out
   * (RFC 6120 section 8.1.2.1); on a component link every stanza has one (XEP-0114 section 3).
   */
  readonly emptyFromIsOwn: boolean;
  /** Calls waiting for an answer at one time; one more is not sent (S2). */
  readonly maxPending?: number;
  /** Ids that nobody can guess (X2). Replaced only where a run must be repeatable. */
  readonly newId?: () => string;
};

type Pending = { readonly to: string; readonly settle: (outcome: IqOutcome) => void };

/**
 * Asks questions and matches answers: by an unguessable id and by the address that was asked (X2); every call ends
 * with an answer, at its deadline, or the moment the link is gone (X3).
 */
export class IqCaller {
  readonly #options: IqCallerOptions;
  readonly #pending = new Map<string, Pending>();

  constructor(options: IqCallerOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#pending.size;
  }

  request(request: IqRequest): Promise<IqOutcome> {
    const maxPending = this.#options.maxPending ?? 8192;
    if (this.#pending.size >= maxPending) {
      const message = `${maxPending} calls are waiting for answers; wait for some to end`;
      return Promise.resolve({ kind: "not-sent", refusal: { kind: "queue-full", message } });
    }
    const id = (this.#options.newId ?? randomUUID)();
    const iq = new Element("iq", { type: request.type, id, to: request.to, from: request.from });
    iq.append(request.payload);
    return new Promise((resolve) => this.#start(id, request, iq, resolve));
  }

  /** Takes an IQ of type result or error; `false` when it answers no question of ours and is to be dropped. */
  accept(answer: Element): boolean {
    const id = answer.attrs.id ?? "";
    const pending = this.#pending.get(id);
    if (pending === undefined || !this.#isFrom(answer.attrs.from ?? "", pending.to)) return false;
    if (answer.attrs.type === "error") {
      pending.settle({ kind: "error", from: pending.to, fault: decodeStanzaFault(answer) });
    } else {
      const [payload] = answer.getChildElements();
      pending.settle({ kind: "result", from: pending.to, ...(payload === undefined ? {} : { payload }) });
    }
    return true;
  }

  /** The link is gone: every call ends now, as *unknown* (X3, B2). */
  disconnected(): void {
    for (const pending of [...this.#pending.values()]) pending.settle({ kind: "disconnected" });
  }

  #start(id: string, request: IqRequest, iq: Element, resolve: (outcome: IqOutcome) => void): void {
    let cancelDeadline: CancelTimer = () => {};
    const settle = (outcome: IqOutcome): void => {
      if (!this.#pending.delete(id)) return;
      cancelDeadline();
      resolve(outcome);
    };
    this.#pending.set(id, { to: request.to, settle });
    cancelDeadline = this.#options.clock.setTimer(request.timeoutMs, () => settle({ kind: "timeout" }));
    void this.#options.send(iq).then((sent) => {
      if (sent.kind !== "sent") settle({ kind: "not-sent", refusal: sent });
    });
  }

  #isFrom(from: string, asked: string): boolean {
    if (from !== "") return sameAddress(from, asked);
    if (!this.#options.emptyFromIsOwn) return false;
    const own = this.#options.ownAddress();
    return [own, bareAddress(own), domainOf(own)].some((address) => address !== "" && sameAddress(address, asked));
  }
}
