/** Answers the leader's questions for serial logs: they change nothing, and pass by the core. */
import { describeFaults } from "@muster/base";
import {
  type Refusal,
  refusal,
  refusalMessage,
  STANZA_ERRORS,
  serialLogPartMessage,
  serialLogQueryMessage,
} from "@muster/protocol";
import type { Bus, IqAnswer, Unsubscribe } from "@muster/xmpp";
import type { Hypervisor } from "../hypervisor/port.ts";

export function receiveLogQueries(bus: Bus, leader: string, hypervisor: Pick<Hypervisor, "log">): Unsubscribe {
  const { namespace, name } = serialLogQueryMessage;
  return bus.handle("get", namespace, name, async (iq): Promise<IqAnswer> => {
    if (iq.from !== leader) return refused(refusal("forbidden", "not-the-leader", `this host obeys ${leader} alone`));
    const query = serialLogQueryMessage.decode(iq.payload);
    if (!query.ok) {
      const faults = describeFaults(query.error).replace(/\p{Cc}/gu, "?");
      return refused(refusal("bad-request", "malformed", faults));
    }
    const { vm, offset, max } = query.value;
    const part = await hypervisor.log?.(vm, offset, max);
    if (part === undefined)
      return refused(
        refusal("item-not-found", "no-log", "this host keeps no serial log of the VM: it has not started"),
      );
    const data = Buffer.from(part.data).toString("base64");
    const next = part.offset + part.data.length;
    return {
      kind: "result",
      payload: serialLogPartMessage.encode({ data, offset: part.offset, next, size: part.size }),
    };
  });
}

function refused(because: Refusal): IqAnswer {
  const { condition, type } = STANZA_ERRORS[because.kind];
  return {
    kind: "error",
    fault: { type, condition, text: because.message, application: refusalMessage.encode(because) },
  };
}
