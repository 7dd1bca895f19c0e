/** Whoever talks to a site under test: people, and components of other sites. */
import { refusalMessage } from "@muster/protocol";
import type { Bus, IncomingStanza, IqOutcome, MemoryNetwork } from "@muster/xmpp";
import { Element } from "ltx";
import { until } from "../leadership/test-bed.fixture.ts";

export const CLOUD = "cloud.alpha.test";

/** An ordinary account, online. */
export class Person {
  static readonly #buses: Bus[] = [];
  readonly bus: Bus;
  readonly presences: IncomingStanza[] = [];
  readonly chat: string[] = [];

  private constructor(bus: Bus) {
    this.bus = bus;
    bus.onPresence((presence) => void this.presences.push(presence));
    bus.onMessage(({ stanza }) => void this.chat.push(stanza.getChildText("body") ?? ""));
  }

  static async online(network: MemoryNetwork, address: string): Promise<Person> {
    const bus = address.includes("@") ? network.client(address) : network.component(address);
    Person.#buses.push(bus);
    const person = new Person(bus);
    bus.start();
    await until(`${address} is online`, () => bus.status.kind === "online");
    if (address.includes("@")) await bus.send(new Element("presence"));
    return person;
  }

  /** Ends everybody who came online. */
  static async stopAll(): Promise<void> {
    for (const bus of Person.#buses.splice(0)) await bus.stop();
  }

  presence(to: string, type: string): Promise<unknown> {
    return this.bus.send(new Element("presence", { to, type }));
  }

  async say(text: string): Promise<string> {
    const before = this.chat.length;
    const message = new Element("message", { to: CLOUD, type: "chat" });
    message.c("body").t(text);
    await this.bus.send(message);
    await until(`an answer to ${text}`, () => this.chat.length > before);
    return this.chat.at(-1) ?? "";
  }

  ask(payload: Element, type: "get" | "set" = "get", to = CLOUD, from?: string): Promise<IqOutcome> {
    return this.bus.request({ to, type, payload, timeoutMs: 3_000, ...(from === undefined ? {} : { from }) });
  }

  /** What a contact was last seen to be: type, show and status. */
  last(from: string): string | undefined {
    const seen = this.presences.filter((presence) => presence.from === from).at(-1);
    if (seen === undefined) return undefined;
    const { type, stanza } = seen;
    return [type || "available", stanza.getChildText("show") ?? "-", stanza.getChildText("status") ?? "-"].join(" | ");
  }
}

/** The refusal in an answer, with its condition; the answer itself where there is none. */
export function refusalOf(outcome: IqOutcome): unknown {
  if (outcome.kind !== "error" || outcome.fault.application === undefined) return outcome;
  const decoded = refusalMessage.decode(outcome.fault.application);
  return decoded.ok ? { condition: outcome.fault.condition, ...decoded.value } : decoded.error;
}
