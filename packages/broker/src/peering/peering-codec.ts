/** Messages about a peering as XML elements and back. Whatever does not decode is refused with the field at fault (S1). */
import { describeFaults, err, ok, type Result } from "@muster/base";
import {
  acceptedMessage,
  acceptMessage,
  type Message,
  peerStateMessage,
  peerStateTakenMessage,
  type Refusal,
  refusal,
  successionMessage,
  successionTakenMessage,
} from "@muster/protocol";
import type { Element } from "ltx";
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
      return read(acceptMessage, payload, (body) => ({ kind: "accept", body }));
    case "state":
      return read(peerStateMessage, payload, (body) => ({ kind: "state", body }));
    case "succession":
      return read(successionMessage, payload, (body) => ({ kind: "succession", body }));
    default:
      return err(refusal("bad-request", "unknown-message", "this is no message of this protocol version"));
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
      return read(acceptedMessage, payload, (body) => ({ kind: "accepted", body }));
    case "state-taken":
      return read(peerStateTakenMessage, payload, (body) => ({ kind: "state-taken", body }));
    case "succession-taken":
      return read(successionTakenMessage, payload, (body) => ({ kind: "succession-taken", body }));
    default:
      return err(refusal("bad-request", "unknown-message", "this is no message of this protocol version"));
  }
}

function read<Body, Value>(
  message: Message<Body>,
  payload: Element,
  wrap: (body: Body) => Value,
): Result<Value, Refusal> {
  const decoded = message.decode(payload);
  if (decoded.ok) return ok(wrap(decoded.value));
  const field = decoded.error.find((fault) => fault.field !== "")?.field.slice(0, 128);
  const text = describeFaults(decoded.error).replace(/\p{Cc}+/gu, " ");
  return err(refusal("bad-request", `malformed-${message.name}`, text, field === undefined ? {} : { field }));
}
