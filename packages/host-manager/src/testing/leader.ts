import {
  type Capacity,
  type Command,
  type CommandOutcome,
  capacityMessage,
  commandMessage,
  commandOutcomeMessage,
  helloMessage,
  type InventoryPage,
  inventoryPageMessage,
  inventoryQueryMessage,
  type Notice,
  noticesMessage,
  noticesTakenMessage,
  type Refusal,
  refusalMessage,
  type Welcome,
  welcomeMessage,
} from "@muster/protocol";
import type { Bus, IqOutcome } from "@muster/xmpp";
import type { Element } from "ltx";

export type Heard = { readonly from: string; readonly type: string; readonly show: string; readonly status: string };

/** The other end of a host manager: a leader that only says and hears, for tests. */
export class TestLeader {
  readonly #bus: Bus;
  readonly capacities: Capacity[] = [];
  readonly presences: Heard[] = [];
  readonly notices: Notice[] = [];
  readonly batches: number[] = [];
  /** Whether notices are acknowledged. */
  takesNotices = true;
  host = "";

  constructor(bus: Bus) {
    this.#bus = bus;
    bus.onPresence(({ from, type, stanza }) => {
      const [show, status] = [stanza.getChildText("show") ?? "", stanza.getChildText("status") ?? ""];
      this.presences.push({ from, type, show, status });
      const element = stanza.getChild(capacityMessage.name, capacityMessage.namespace);
      if (element === undefined) return;
      this.host = from;
      this.capacities.push(decoded(capacityMessage.decode(element)));
    });
    bus.handle("set", noticesMessage.namespace, noticesMessage.name, ({ payload }) => {
      const { notices } = decoded(noticesMessage.decode(payload));
      this.batches.push(notices.length);
      if (!this.takesNotices) return { kind: "error", fault: { type: "wait", condition: "resource-constraint" } };
      this.notices.push(...notices);
      const sequence = notices.at(-1)?.sequence ?? 0;
      return { kind: "result", payload: noticesTakenMessage.encode({ sequence }) };
    });
  }

  get capacity(): Capacity | undefined {
    return this.capacities.at(-1);
  }

  /** The latest notice about a VM in a state. */
  told(vm: string, state: Notice["state"]): Notice | undefined {
    return this.notices.findLast((notice) => notice.vm === vm && notice.state === state);
  }

  async command(command: Command): Promise<CommandOutcome | Refusal> {
    return answered(await this.ask("set", commandMessage.encode(command)), commandOutcomeMessage);
  }

  async hello(term: number): Promise<Welcome | Refusal> {
    return answered(await this.ask("set", helloMessage.encode({ term, manager: "a" })), welcomeMessage);
  }

  async inventory(max: number, after?: string): Promise<InventoryPage | Refusal> {
    const query = inventoryQueryMessage.encode({ max, ...(after === undefined ? {} : { after }) });
    return answered(await this.ask("get", query), inventoryPageMessage);
  }

  ask(type: "get" | "set", payload: Element): Promise<IqOutcome> {
    return this.#bus.request({ to: this.host, type, payload, timeoutMs: 5_000 });
  }
}

type Decoder<Value> = {
  decode(
    element: Element,
  ): { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly error: unknown };
};

/** The answer, or the refusal in its place; throws when there was neither. */
export function answered<Value>(outcome: IqOutcome, message: Decoder<Value>): Value | Refusal {
  if (outcome.kind === "result" && outcome.payload !== undefined) return decoded(message.decode(outcome.payload));
  if (outcome.kind === "error" && outcome.fault.application !== undefined)
    return decoded(refusalMessage.decode(outcome.fault.application));
  throw new Error(`no answer: ${JSON.stringify(outcome.kind === "error" ? outcome.fault.condition : outcome.kind)}`);
}

function decoded<Value>(result: ReturnType<Decoder<Value>["decode"]>): Value {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}
