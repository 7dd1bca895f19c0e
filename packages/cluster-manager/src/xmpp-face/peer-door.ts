import { assertNever } from "@muster/base";
import {
  BURST_IQ_TYPES,
  type BurstOutcome,
  decodeBurstAnswer,
  decodeBurstNotice,
  decodeBurstRequest,
  encodeBurstAnswer,
  encodeBurstNotice,
  encodeBurstRequest,
  type Peering,
} from "@muster/broker";
import {
  cloudAddress,
  type LeaseState,
  leaseNoticeMessage,
  NS_BURST,
  type Refusal,
  refusal,
  siteOfCloud,
} from "@muster/protocol";
import { type IncomingIq, type IncomingStanza, type IqAnswer, type IqOutcome, prepareAddress } from "@muster/xmpp";
import { Element } from "ltx";
import type { CoreEffect } from "../core/effect.ts";
import { FACE_ANSWER_WITHIN_MS, type FaceContext } from "./face-context.ts";
import { OncePer } from "./once-per.ts";
import type { PeerSeal } from "./peer-seal.ts";
import type { PeerWatch } from "./peer-watch.ts";
import { refusalIn, refuseIq } from "./refusal-fault.ts";

export type PeerDoorOptions = {
  readonly context: FaceContext;
  readonly seal: PeerSeal;
  readonly watch: PeerWatch;
};

const STRANGER_EVERY_MS = 60_000;

/** Burst with peer sites: only `cloud.<peer>` of an active peering, only signed, decoded before the core hears of it. */
export class PeerDoor {
  readonly #context: FaceContext;
  readonly #seal: PeerSeal;
  readonly #strangers: OncePer;
  readonly #watch: PeerWatch;

  constructor({ context, seal, watch }: PeerDoorOptions) {
    this.#watch = watch;
    this.#context = context;
    this.#seal = seal;
    this.#strangers = new OncePer(context.clock, STRANGER_EVERY_MS);
  }

  start(): void {
    for (const [name, type] of Object.entries(BURST_IQ_TYPES))
      this.#context.bus.handle(type, NS_BURST, name, (iq) => this.#request(iq));
    this.#context.bus.onMessage((message) => {
      const payload = message.stanza.getChild(leaseNoticeMessage.name, NS_BURST);
      if (payload !== undefined && message.type !== "error")
        this.#notice(message, payload).catch((error: unknown) =>
          this.#context.log.error({ error: String(error) }, "a notice of a peer met a fault"),
        );
    });
  }

  /** Asks a peer; whatever does not come back readable and signed is unknown (B2). */
  async send({ peer, call, request, timeoutMs }: Extract<CoreEffect, { readonly kind: "peer-send" }>): Promise<void> {
    const { bus, loop, domain } = this.#context;
    const peering = this.#find(peer);
    if (peering === undefined) return void loop.post({ kind: "peer-answer", peer, call, outcome: { kind: "unknown" } });
    const { type, payload } = encodeBurstRequest(request);
    const sealed = await this.#seal.seal(payload, peering);
    await whenOnline(this.#context, timeoutMs);
    const answer = await bus.request({
      to: cloudAddress(peer),
      from: cloudAddress(domain),
      type,
      payload: sealed,
      timeoutMs,
    });
    loop.post({ kind: "peer-answer", peer, call, outcome: await this.#outcomeOf(peering, answer, sealed) });
  }

  stop(): void {
    this.#watch.stop();
  }

  async notify(peer: string, states: readonly LeaseState[]): Promise<void> {
    const { bus, domain } = this.#context;
    const peering = this.#find(peer);
    if (peering === undefined || states.length === 0) return;
    const message = new Element("message", { to: cloudAddress(peer), from: cloudAddress(domain), type: "normal" });
    message.append(await this.#seal.seal(encodeBurstNotice({ states }), peering));
    await bus.send(message);
  }

  async #request({ from, payload }: IncomingIq): Promise<IqAnswer> {
    const peering = this.#peeringOf(from);
    if ("kind" in peering) return this.#refuse(from, peering);
    const { domain } = peering;
    const flood = this.#watch.admit(domain, peering.lend.rate);
    if (flood !== undefined) return this.#refuse(from, flood, domain);
    return this.#watch.whileWorking(domain, () => this.#answer(from, payload, peering));
  }

  async #answer(from: string, payload: Element, peering: Peering): Promise<IqAnswer> {
    const opened = await this.#seal.open(payload, peering);
    if (!opened.ok) return this.#refuse(from, opened.error, peering.domain);
    const request = decodeBurstRequest(opened.value);
    if (!request.ok) return this.#refuse(from, request.error, peering.domain);
    const answer = await this.#context.loop.ask(
      (ticket) => ({ kind: "peer-request", ticket, peer: peering.domain, request: request.value }),
      FACE_ANSWER_WITHIN_MS,
      (given) => given,
    );
    if (answer.kind === "refused") {
      if (request.value.kind === "receipts") this.#context.count("peer", "refused");
      return refuseIq(answer.refusal);
    }
    if (answer.kind !== "burst") throw new Error(`a burst request was answered with ${answer.kind}`);
    this.#context.count("peer", "taken");
    return { kind: "result", payload: await this.#seal.seal(encodeBurstAnswer(answer.answer), peering, opened.value) };
  }

  async #notice({ from }: IncomingStanza, payload: Element): Promise<void> {
    const peering = this.#peeringOf(from);
    if ("kind" in peering) return void this.#refuse(from, peering);
    const { domain } = peering;
    const flood = this.#watch.admit(domain, peering.lend.rate);
    if (flood !== undefined) return void this.#refuse(from, flood, domain);
    const opened = await this.#seal.open(payload, peering);
    if (!opened.ok) return void this.#refuse(from, opened.error, domain);
    const notice = decodeBurstNotice(opened.value);
    if (!notice.ok) return void this.#refuse(from, notice.error, domain);
    this.#context.count("peer", "taken");
    this.#context.loop.post({ kind: "peer-notice", peer: peering.domain, notice: notice.value });
  }

  /** The peering as it stands now: one that was left a moment ago counts no more. */
  #find(domain: string): Peering | undefined {
    const { loop } = this.#context;
    return loop.views.peering(domain, loop.nowMs());
  }

  /** The peering of exactly this `cloud.<domain>`: the server vouches for the domain, the rest is the peer's word. */
  #peeringOf(from: string): Peering | Refusal {
    const domain = cloudOf(from);
    const peering = domain === undefined ? undefined : this.#find(domain);
    return peering ?? refusal("forbidden", "no-peering", "this site has no peering with yours; ask its admin for one");
  }

  /** `peer`: whose peering it counts against. */
  #refuse(from: string, why: Refusal, peer?: string): IqAnswer {
    this.#context.count(peer === undefined ? "stranger" : "peer", "refused");
    if (peer !== undefined) this.#watch.refused(peer, why);
    if (this.#strangers.isDue(`${from} ${why.reason}`))
      this.#context.log.warn({ from, reason: why.reason }, "a burst message was refused");
    return refuseIq(why);
  }

  async #outcomeOf(peering: Peering, answer: IqOutcome, question: Element): Promise<BurstOutcome> {
    switch (answer.kind) {
      case "timeout":
      case "disconnected":
      case "not-sent":
        return { kind: "unknown" };
      case "error": {
        const refused = refusalIn(answer.fault);
        return refused === undefined ? { kind: "unknown" } : { kind: "refused", refusal: refused };
      }
      case "result": {
        if (answer.payload === undefined) return { kind: "unknown" };
        const opened = await this.#seal.open(answer.payload, peering, question);
        const decoded = opened.ok ? decodeBurstAnswer(opened.value) : opened;
        if (decoded.ok) return { kind: "answered", answer: decoded.value };
        this.#watch.refused(peering.domain, decoded.error);
        this.#context.log.warn(
          { peer: peering.domain, reason: decoded.error.reason },
          "a peer's answer cannot be used",
        );
        return { kind: "unknown" };
      }
      default:
        return assertNever(answer);
    }
  }
}

/** The site whose cloud address this is, exactly: no address below it, no resource. */
export function cloudOf(from: string): string | undefined {
  const domain = siteOfCloud(from);
  return domain !== undefined && prepareAddress(from) === cloudAddress(domain) ? domain : undefined;
}

/** Waits for our own link, so that a question of the first moment does not count as a peer that is away. */
export function whenOnline({ bus, clock }: Pick<FaceContext, "bus" | "clock">, withinMs: number): Promise<void> {
  if (bus.status.kind === "online") return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      unsubscribe();
      resolve();
    };
    const cancel = clock.setTimer(withinMs, done);
    const unsubscribe = bus.onStatus((status) => {
      if (status.kind === "online") done();
    });
  });
}
