/** Talk with peers about the peering itself: signed, decoded, and only with those who were invited or are pinned. */
import { assertNever } from "@muster/base";
import {
  decodePeeringAnswer,
  decodePeeringRequest,
  encodePeeringAnswer,
  encodePeeringRequest,
  PEERING_REQUESTS,
  type PeeringOutcome,
  type PinnedPeer,
} from "@muster/broker";
import { cloudAddress, NS_PEERING, type Refusal, refusal } from "@muster/protocol";
import type { IncomingIq, IqAnswer, IqOutcome } from "@muster/xmpp";
import type { Element } from "ltx";
import type { CoreEffect } from "../core/effect.ts";
import { FACE_ANSWER_WITHIN_MS, type FaceContext } from "./face-context.ts";
import { OncePer } from "./once-per.ts";
import { cloudOf, whenOnline } from "./peer-door.ts";
import type { PeerSeal } from "./peer-seal.ts";
import { refusalIn, refuseIq } from "./refusal-fault.ts";
import type { ServerDoor } from "./server-door.ts";

const STRANGER_EVERY_MS = 60_000;

export class PeeringDoor {
  readonly #context: FaceContext;
  readonly #seal: PeerSeal;
  readonly #server: ServerDoor;
  readonly #strangers: OncePer;

  constructor(context: FaceContext, seal: PeerSeal, server: ServerDoor) {
    this.#context = context;
    this.#seal = seal;
    this.#server = server;
    this.#strangers = new OncePer(context.clock, STRANGER_EVERY_MS);
  }

  start(): void {
    for (const name of PEERING_REQUESTS) this.#context.bus.handle("set", NS_PEERING, name, (iq) => this.#request(iq));
  }

  /** Asks a peer about the peering; whatever does not come back readable and signed is unknown. */
  async send(effect: Extract<CoreEffect, { readonly kind: "peering-send" }>): Promise<void> {
    const { bus, loop, domain } = this.#context;
    const { peer, call, request, signWith, timeoutMs } = effect;
    const pinned = loop.views.pinnedPeer(peer, loop.nowMs());
    const ended = (outcome: PeeringOutcome): void => void loop.post({ kind: "peering-answer", peer, call, outcome });
    if (pinned === undefined) return ended({ kind: "unknown", why: "the peering is gone" });
    const payload = await this.#seal.seal(encodePeeringRequest(request), { domain: peer, signWith });
    await whenOnline(this.#context, timeoutMs);
    // Our own server has to know the peer first: it would turn the question away, and the answer.
    await this.#server.settled();
    const ask = { to: cloudAddress(peer), from: cloudAddress(domain), type: "set", payload, timeoutMs } as const;
    ended(await this.#outcomeOf(pinned, await bus.request(ask), payload));
  }

  async #request({ from, payload }: IncomingIq): Promise<IqAnswer> {
    const { loop } = this.#context;
    const peer = this.#speaker(from, payload);
    if ("kind" in peer) return this.#refuse(from, peer);
    const opened = await this.#seal.open(payload, peer);
    if (!opened.ok) return this.#refuse(from, opened.error);
    const request = decodePeeringRequest(opened.value);
    if (!request.ok) return this.#refuse(from, request.error);
    const answer = await loop.ask(
      (ticket) => ({ kind: "peering-request", ticket, peer: peer.domain, request: request.value }),
      FACE_ANSWER_WITHIN_MS,
      (given) => given,
    );
    if (answer.kind === "refused") return this.#refuse(from, answer.refusal);
    if (answer.kind !== "peering") throw new Error(`a peering request was answered with ${answer.kind}`);
    this.#context.count("peer", "taken");
    const signWith = loop.views.pinnedPeer(peer.domain, loop.nowMs())?.signWith;
    const signing = { domain: peer.domain, signWith };
    return {
      kind: "result",
      payload: await this.#seal.seal(encodePeeringAnswer(answer.answer), signing, opened.value),
    };
  }

  /** By which key this sender has to have signed: the pinned one, or for the acceptance of our invitation its own. */
  #speaker(from: string, payload: Element): PinnedPeer | Refusal {
    const { loop } = this.#context;
    const domain = cloudOf(from);
    if (domain === undefined) return NO_PEERING;
    if (payload.getName() !== "accept") return loop.views.pinnedPeer(domain, loop.nowMs()) ?? NO_PEERING;
    const accept = decodePeeringRequest(payload);
    if (!accept.ok) return accept.error;
    if (accept.value.kind !== "accept") return NO_PEERING;
    const { invitation, key } = accept.value.body;
    return loop.views.hasInvited(domain, invitation) ? { domain, publicKey: key } : NO_INVITATION;
  }

  #refuse(from: string, why: Refusal): IqAnswer {
    this.#context.count("stranger", "refused");
    if (this.#strangers.isDue(`${from} ${why.reason}`))
      this.#context.log.warn({ from, reason: why.reason }, "a message about a peering was refused");
    return refuseIq(why);
  }

  async #outcomeOf(peer: PinnedPeer, answer: IqOutcome, question: Element): Promise<PeeringOutcome> {
    switch (answer.kind) {
      case "timeout":
        return { kind: "unknown", why: `${peer.domain} does not answer` };
      case "disconnected":
      case "not-sent":
        return { kind: "unknown", why: "our own XMPP link is down" };
      case "error": {
        const refused = refusalIn(answer.fault);
        if (refused !== undefined) return { kind: "refused", refusal: refused };
        const { condition, text } = answer.fault;
        const why = `${peer.domain} cannot be reached: ${text ?? condition}`.replace(/\p{Cc}+/gu, " ").slice(0, 300);
        return { kind: "unknown", why };
      }
      case "result": {
        const opened = answer.payload === undefined ? undefined : await this.#seal.open(answer.payload, peer, question);
        const decoded = opened?.ok === true ? decodePeeringAnswer(opened.value) : undefined;
        if (decoded?.ok === true) return { kind: "answered", answer: decoded.value };
        return { kind: "unknown", why: `the answer of ${peer.domain} is not signed by its key` };
      }
      default:
        return assertNever(answer);
    }
  }
}

const NO_PEERING = refusal(
  "forbidden",
  "no-peering",
  "this site has no peering with yours; ask its admin for an invitation",
);
const NO_INVITATION = refusal("forbidden", "unknown-invitation", "no such invitation of your site is open here");
