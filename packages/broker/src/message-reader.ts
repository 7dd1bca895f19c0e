/** Reads what a peer says: by its schema, or refused with the field or the name at fault (S1). */
import { describeFaults, err, ok, type Result } from "@muster/base";
import { type Message, type Refusal, refusal } from "@muster/protocol";
import type { Element } from "ltx";

const NAME_MAX = 64;
const FIELD_MAX = 128;

export function readMessage<Body, Value>(
  message: Message<Body>,
  payload: Element,
  wrap: (body: Body) => Value,
): Result<Value, Refusal> {
  const decoded = message.decode(payload);
  if (decoded.ok) return ok(wrap(decoded.value));
  const field = decoded.error.find((fault) => fault.field !== "")?.field.slice(0, FIELD_MAX);
  const text = oneLine(describeFaults(decoded.error));
  return err(refusal("bad-request", `malformed-${message.name}`, text, field === undefined ? {} : { field }));
}

/** No message of ours has this name. */
export function unknownMessage(payload: Element): Refusal {
  const name = oneLine(payload.getName()).slice(0, NAME_MAX);
  return refusal("bad-request", "unknown-message", `<${name}/> is no message of this protocol version`);
}

function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}
