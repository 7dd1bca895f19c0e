/**
 * Burst requests, answers and notices as XML elements and back. Names are those of `@muster/protocol`'s messages, so a
 * router can go by namespace and name. Whatever does not decode is refused with the field at fault (S1).
 */
import { err, type Result } from "@muster/base";
import {
  heldMessage,
  holdMessage,
  leasedMessage,
  leaseMessage,
  leaseNoticeMessage,
  offerMessage,
  offerQueryMessage,
  peerMovedMessage,
  peerMoveMessage,
  pulledMessage,
  pullMessage,
  type Refusal,
  receiptsMessage,
  releasedMessage,
  releaseMessage,
  renewedMessage,
  renewMessage,
  verdictsMessage,
} from "@muster/protocol";
import type { Element } from "ltx";
import type { BurstAnswer, BurstNotice, PeerRequest } from "./burst-message.ts";
import { readMessage, unknownMessage } from "./message-reader.ts";

type Kind = PeerRequest["kind"];

/** Which IQ type each question goes by: what changes nothing is a `get`. */
export const BURST_IQ_TYPES: Readonly<Record<Kind, "get" | "set">> = {
  "offer-query": "get",
  hold: "set",
  lease: "set",
  renew: "set",
  release: "set",
  "move-step": "set",
  pull: "get",
  receipts: "set",
};

/** The question as the payload of an IQ. */
export function encodeBurstRequest(request: PeerRequest): {
  readonly type: "get" | "set";
  readonly payload: Element;
} {
  const type = BURST_IQ_TYPES[request.kind];
  switch (request.kind) {
    case "offer-query":
      return { type, payload: offerQueryMessage.encode(request.body) };
    case "hold":
      return { type, payload: holdMessage.encode(request.body) };
    case "lease":
      return { type, payload: leaseMessage.encode(request.body) };
    case "renew":
      return { type, payload: renewMessage.encode(request.body) };
    case "release":
      return { type, payload: releaseMessage.encode(request.body) };
    case "move-step":
      return { type, payload: peerMoveMessage.encode(request.body) };
    case "pull":
      return { type, payload: pullMessage.encode(request.body) };
    case "receipts":
      return { type, payload: receiptsMessage.encode(request.body) };
  }
}

/** Reads a question; `undefined` never: what is no burst question is refused as such. */
export function decodeBurstRequest(payload: Element): Result<PeerRequest, Refusal> {
  switch (payload.getName()) {
    case "offer-query":
      return readMessage(offerQueryMessage, payload, (body) => ({ kind: "offer-query", body }));
    case "hold":
      return readMessage(holdMessage, payload, (body) => ({ kind: "hold", body }));
    case "lease":
      return readMessage(leaseMessage, payload, (body) => ({ kind: "lease", body }));
    case "renew":
      return readMessage(renewMessage, payload, (body) => ({ kind: "renew", body }));
    case "release":
      return readMessage(releaseMessage, payload, (body) => ({ kind: "release", body }));
    case "move-step":
      return readMessage(peerMoveMessage, payload, (body) => ({ kind: "move-step", body }));
    case "pull":
      return readMessage(pullMessage, payload, (body) => ({ kind: "pull", body }));
    case "receipts":
      return readMessage(receiptsMessage, payload, (body) => ({ kind: "receipts", body }));
    default:
      return err(unknownMessage(payload));
  }
}

export function encodeBurstAnswer(answer: BurstAnswer): Element {
  switch (answer.kind) {
    case "offer":
      return offerMessage.encode(answer.body);
    case "held":
      return heldMessage.encode(answer.body);
    case "leased":
      return leasedMessage.encode(answer.body);
    case "renewed":
      return renewedMessage.encode(answer.body);
    case "released":
      return releasedMessage.encode(answer.body);
    case "move-stepped":
      return peerMovedMessage.encode(answer.body);
    case "pulled":
      return pulledMessage.encode(answer.body);
    case "verdicts":
      return verdictsMessage.encode(answer.body);
  }
}

/** Reads an answer. One that does not decode is as good as none: treat it as `unknown` (B2). */
export function decodeBurstAnswer(payload: Element): Result<BurstAnswer, Refusal> {
  switch (payload.getName()) {
    case "offer":
      return readMessage(offerMessage, payload, (body) => ({ kind: "offer", body }));
    case "held":
      return readMessage(heldMessage, payload, (body) => ({ kind: "held", body }));
    case "leased":
      return readMessage(leasedMessage, payload, (body) => ({ kind: "leased", body }));
    case "renewed":
      return readMessage(renewedMessage, payload, (body) => ({ kind: "renewed", body }));
    case "released":
      return readMessage(releasedMessage, payload, (body) => ({ kind: "released", body }));
    case "move-stepped":
      return readMessage(peerMovedMessage, payload, (body) => ({ kind: "move-stepped", body }));
    case "pulled":
      return readMessage(pulledMessage, payload, (body) => ({ kind: "pulled", body }));
    case "verdicts":
      return readMessage(verdictsMessage, payload, (body) => ({ kind: "verdicts", body }));
    default:
      return err(unknownMessage(payload));
  }
}

/** States as the payload of a `<message/>`: at most 50, as the lender's `notify` effect gives them. */
export function encodeBurstNotice({ states }: BurstNotice): Element {
  return leaseNoticeMessage.encode({ states: [...states] });
}

export function decodeBurstNotice(payload: Element): Result<BurstNotice, Refusal> {
  return readMessage(leaseNoticeMessage, payload, (body) => body);
}
