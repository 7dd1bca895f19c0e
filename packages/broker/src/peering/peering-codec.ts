/** Messages about a peering as XML elements and back. Whatever does not decode is refused with the field at fault (S1). */
import { err, type Result } from "@muster/base";
import {
  acceptedMessage,
  acceptMessage,
  peerStateMessage,
  peerStateTakenMessage,
  type Refusal,
  successionMessage,
  successionTakenMessage,
} from "@muster/protocol";
import type { Element } from "ltx";
import { readMessage, unknownMessage } from "../message-reader.ts";
import type { PeeringAnswer, PeeringRequest } from "./peering-message.ts";

/** Names of the questions; all are IQ sets. */
export const PEERING_REQUESTS: readonly PeeringRequest["kind"][] = ["accept", "state", "succession"];

export function encodePeeringRequest(request: PeeringRequest): Element {
  switch (request.kind) {
    case "accept":
      return acceptMessage.encode(request.body);
    case "state":
      return peerStateMessage.encode(request.body);
    case "succession":
      return successionMessage.encode(request.body);
  }
}

export function decodePeeringRequest(payload: Element): Result<PeeringRequest, Refusal> {
  switch (payload.getName()) {
    case "accept":
      return readMessage(acceptMessage, payload, (body) => ({ kind: "accept", body }));
    case "state":
      return readMessage(peerStateMessage, payload, (body) => ({ kind: "state", body }));
    case "succession":
      return readMessage(successionMessage, payload, (body) => ({ kind: "succession", body }));
    default:
      return err(unknownMessage(payload));
  }
}

export function encodePeeringAnswer(answer: PeeringAnswer): Element {
  switch (answer.kind) {
    case "accepted":
      return acceptedMessage.encode(answer.body);
    case "state-taken":
      return peerStateTakenMessage.encode(answer.body);
    case "succession-taken":
      return successionTakenMessage.encode(answer.body);
  }
}

export function decodePeeringAnswer(payload: Element): Result<PeeringAnswer, Refusal> {
  switch (payload.getName()) {
    case "accepted":
      return readMessage(acceptedMessage, payload, (body) => ({ kind: "accepted", body }));
    case "state-taken":
      return readMessage(peerStateTakenMessage, payload, (body) => ({ kind: "state-taken", body }));
    case "succession-taken":
      return readMessage(successionTakenMessage, payload, (body) => ({ kind: "succession-taken", body }));
    default:
      return err(unknownMessage(payload));
  }
}
