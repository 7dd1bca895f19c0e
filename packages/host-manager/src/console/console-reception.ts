/** Takes the leader's orders about consoles off the Bus: they pass by the core. */
import { describeFaults } from "@muster/base";
import {
  consoleOrderMessage,
  consoleStateMessage,
  type Refusal,
  refusal,
  refusalMessage,
  STANZA_ERRORS,
} from "@muster/protocol";
import type { Bus, IqAnswer, Unsubscribe } from "@muster/xmpp";
import type { ConsoleDesk } from "./console-desk.ts";

/** Returns how to stop, which ends all sessions. */
export function receiveConsoleOrders(bus: Bus, leader: string, desk: ConsoleDesk): Unsubscribe {
  const { namespace, name } = consoleOrderMessage;
  const stop = bus.handle("set", namespace, name, async (iq): Promise<IqAnswer> => {
    if (iq.from !== leader) return refused(refusal("forbidden", "not-the-leader", `this host obeys ${leader} alone`));
    const order = consoleOrderMessage.decode(iq.payload);
    if (!order.ok)
      return refused(refusal("bad-request", "malformed", describeFaults(order.error).replace(/\p{Cc}/gu, "?")));
    const state = await desk.take(order.value);
    return state.ok ? { kind: "result", payload: consoleStateMessage.encode(state.value) } : refused(state.error);
  });
  return () => {
    stop();
    desk.close();
  };
}

function refused(because: Refusal): IqAnswer {
  const { condition, type } = STANZA_ERRORS[because.kind];
  return {
    kind: "error",
    fault: { type, condition, text: because.message, application: refusalMessage.encode(because) },
  };
}
