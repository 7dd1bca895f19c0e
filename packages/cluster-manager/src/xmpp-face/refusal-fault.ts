import { describeFaults, type FieldFault } from "@muster/base";
import { type Refusal, refusal, refusalMessage, STANZA_ERRORS } from "@muster/protocol";
import type { IqAnswer, StanzaFault } from "@muster/xmpp";

/** A refusal as stanza error: the standard condition for any stack, `<refusal/>` inside for ours. */
export function faultOf(refused: Refusal): StanzaFault {
  const { condition, type } = STANZA_ERRORS[refused.kind];
  return { type, condition, text: refused.message, application: refusalMessage.encode(refused) };
}

export function refuseIq(refused: Refusal): IqAnswer {
  return { kind: "error", fault: faultOf(refused) };
}

/** The refusal in a stanza error, where the answerer is of ours and said one that can be read. */
export function refusalIn(fault: StanzaFault): Refusal | undefined {
  if (fault.application === undefined) return undefined;
  const decoded = refusalMessage.decode(fault.application);
  return decoded.ok ? decoded.value : undefined;
}

/** What was wrong with a payload, field by field (S1). */
export function malformed(faults: readonly FieldFault[]): Refusal {
  const field = faults[0]?.field ?? "";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusals are one line, what a sender wrote may not be
  const line = describeFaults(faults).replace(/[\u0000-\u001f\u007f]+/g, " ");
  return refusal("bad-request", "invalid-fields", line, field === "" ? {} : { field: field.slice(0, 128) });
}
