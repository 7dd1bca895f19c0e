/** Where stanzas become questions to the core and its answers stanzas: decoded once, and only the leader's (S1). */
import { assertNever, describeFaults, type FieldFault, type Result } from "@muster/base";
import {
  type Command,
  commandMessage,
  commandOutcomeMessage,
  type Hello,
  helloMessage,
  type InventoryQuery,
  inventoryPageMessage,
  inventoryQueryMessage,
  type Message,
  type Move,
  moveMessage,
  moveStateMessage,
  type Refusal,
  refusal,
  refusalMessage,
  STANZA_ERRORS,
  type TunnelOrder,
  tunnelMessage,
  tunnelStateMessage,
  type Underlay,
  underlayMessage,
  underlayTakenMessage,
  welcomeMessage,
} from "@muster/protocol";
import type { Bus, IncomingIq, IqAnswer, Unsubscribe } from "@muster/xmpp";
import type { Answer } from "../core/event.ts";

export type Question =
  | { readonly kind: "command"; readonly command: Command }
  | { readonly kind: "move"; readonly move: Move }
  | { readonly kind: "tunnel"; readonly order: TunnelOrder }
  | { readonly kind: "hello"; readonly hello: Hello }
  | { readonly kind: "underlay"; readonly underlay: Underlay }
  | { readonly kind: "inventory"; readonly query: InventoryQuery };

/** Takes the leader's questions off the Bus; `ask` ends with the core's answer. Returns how to stop. */
export function receive(bus: Bus, leader: string, ask: (question: Question) => Promise<Answer>): Unsubscribe {
  const answer = async <Value>(
    iq: IncomingIq,
    message: Message<Value>,
    question: (value: Value) => Question,
  ): Promise<IqAnswer> => {
    if (iq.from !== leader) return refused(stranger(iq.from, leader));
    const decoded: Result<Value, FieldFault[]> = message.decode(iq.payload);
    if (!decoded.ok) return refused(malformed(decoded.error));
    return answerStanza(await ask(question(decoded.value)));
  };
  const stops = [
    bus.handle("set", commandMessage.namespace, commandMessage.name, (iq) =>
      answer(iq, commandMessage, (command) => ({ kind: "command", command })),
    ),
    bus.handle("set", moveMessage.namespace, moveMessage.name, (iq) =>
      answer(iq, moveMessage, (move) => ({ kind: "move", move })),
    ),
    bus.handle("set", tunnelMessage.namespace, tunnelMessage.name, (iq) =>
      answer(iq, tunnelMessage, (order) => ({ kind: "tunnel", order })),
    ),
    bus.handle("set", helloMessage.namespace, helloMessage.name, (iq) =>
      answer(iq, helloMessage, (hello) => ({ kind: "hello", hello })),
    ),
    bus.handle("set", underlayMessage.namespace, underlayMessage.name, (iq) =>
      answer(iq, underlayMessage, (underlay) => ({ kind: "underlay", underlay })),
    ),
    bus.handle("get", inventoryQueryMessage.namespace, inventoryQueryMessage.name, (iq) =>
      answer(iq, inventoryQueryMessage, (query) => ({ kind: "inventory", query })),
    ),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

function answerStanza(answer: Answer): IqAnswer {
  switch (answer.kind) {
    case "outcome":
      return { kind: "result", payload: commandOutcomeMessage.encode(answer.outcome) };
    case "welcome":
      return { kind: "result", payload: welcomeMessage.encode(answer.welcome) };
    case "underlay-taken":
      return { kind: "result", payload: underlayTakenMessage.encode(answer.taken) };
    case "moved":
      return { kind: "result", payload: moveStateMessage.encode(answer.state) };
    case "tunnelled":
      return { kind: "result", payload: tunnelStateMessage.encode(answer.state) };
    case "page":
      return { kind: "result", payload: inventoryPageMessage.encode(answer.page) };
    case "refused":
      return refused(answer.refusal);
    default:
      return assertNever(answer);
  }
}

function refused(because: Refusal): IqAnswer {
  const { condition, type } = STANZA_ERRORS[because.kind];
  return {
    kind: "error",
    fault: { type, condition, text: because.message, application: refusalMessage.encode(because) },
  };
}

/** The server vouches for `from`: no other account of the site, and no other site, orders this host about. */
function stranger(from: string, leader: string): Refusal {
  return refusal("forbidden", "not-the-leader", `this host obeys ${leader}, not ${printable(from).slice(0, 100)}`);
}

function malformed(faults: readonly FieldFault[]): Refusal {
  const field = faults[0]?.field ?? "";
  const message = printable(describeFaults(faults));
  return refusal("bad-request", "malformed", message, field === "" ? {} : { field: field.slice(0, 128) });
}

function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "?");
}
