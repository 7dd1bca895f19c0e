import { randomUUID } from "node:crypto";
import { Element } from "ltx";
import { sameAddress } from "./address.ts";
import type { Bus, IncomingIq, IqAnswer, Unsubscribe } from "./bus.ts";
import { decodeSubmission, encodeForm, encodeResult } from "./data-form.ts";
import type { DiscoPart } from "./services.ts";
import { type StanzaCondition, stanzaFault } from "./stanza-fault.ts";
import type { Word, WordAnswer, Words } from "./words.ts";

const NS_COMMANDS = "http://jabber.org/protocol/commands";
const NS_DATA = "jabber:x:data";

export type AdHocOptions = {
  readonly words: Words;
  /** The address whose commands they are: the component's domain. */
  readonly address: string;
  /** Session ids; only where a run must be repeatable. */
  readonly newId?: () => string;
};

/**
 * Answers ad-hoc commands (XEP-0050): a word without fields is done at once; one with fields is answered by a form,
 * and done by its submission. Nothing is kept between the two, so whoever leads by then can finish it. Some clients
 * fail without `<actions/>` or with another session id than they gave: both are always there.
 */
export function serveAdHoc(bus: Pick<Bus, "handle">, options: AdHocOptions): Unsubscribe {
  return bus.handle("set", NS_COMMANDS, "command", (iq) => command(iq, options));
}

/** The list of commands for service discovery: pass it to `serve` among the parts. */
export function adHocDisco({ words, address }: AdHocOptions): DiscoPart {
  const isOurs = (to: string): boolean => sameAddress(to, address);
  return {
    features: [NS_COMMANDS, NS_DATA],
    info: ({ from, to, node }) => {
      if (!isOurs(to) || node === undefined) return undefined;
      const features = [NS_COMMANDS, NS_DATA];
      const list = { category: "automation", type: "command-list", name: "Commands" };
      if (node === NS_COMMANDS) return { identities: [list], features };
      const word = words.find(from, node);
      if (typeof word === "string") return undefined;
      return { identities: [{ category: "automation", type: "command-node", name: word.title }], features };
    },
    items: ({ from, to, node }) => {
      if (!isOurs(to) || node !== NS_COMMANDS) return undefined;
      return words.permitted(from).map(({ word, title }) => ({ address, node: word, name: title }));
    },
  };
}

async function command(iq: IncomingIq, options: AdHocOptions): Promise<IqAnswer> {
  const { node = "", action = "execute", sessionid } = iq.payload.attrs;
  if (!sameAddress(iq.to, options.address)) return refuse("item-not-found", "There are no commands at this address.");
  if (sessionid !== undefined && sessionid.length > 256) return refuse("bad-request", "The session id is too long.");
  const word = options.words.find(iq.from, node);
  if (word === "forbidden") return refuse("forbidden", "You may not use this command.");
  if (word === "unknown") return refuse("item-not-found", `There is no command ${node.slice(0, 100)}.`);
  const session = { word, id: sessionid ?? (options.newId ?? randomUUID)() };
  if (action === "cancel") return { kind: "result", payload: commandElement(session, "canceled") };
  if (action !== "execute" && action !== "complete" && action !== "next") {
    return refuse("bad-request", "The action is execute, complete or cancel.");
  }
  const submitted = decodeSubmission(iq.payload);
  if (submitted === undefined && word.fields.length > 0) return { kind: "result", payload: form(session) };
  const answer = await options.words.say(word, iq.from, submitted ?? {});
  return { kind: "result", payload: result(session, answer) };
}

type Session = { readonly word: Word; readonly id: string };

function form(session: Session): Element {
  const { word } = session;
  const element = commandElement(session, "executing");
  element.append(actions(), encodeForm(word.title, "Fill in and complete.", word.fields));
  return element;
}

function result(session: Session, { kind, note, table }: WordAnswer): Element {
  const element = commandElement(session, "completed");
  const shown = table ?? { columns: [{ name: "answer", label: "Answer" }], rows: [[note]] };
  element.append(actions(), encodeResult(session.word.title, shown));
  element.c("note", { type: kind === "done" ? "info" : "error" }).t(note);
  return element;
}

function actions(): Element {
  const element = new Element("actions", { execute: "complete" });
  element.c("complete");
  return element;
}

function commandElement({ word, id }: Session, status: "executing" | "completed" | "canceled"): Element {
  return new Element("command", { xmlns: NS_COMMANDS, node: word.word, sessionid: id, status });
}

function refuse(condition: StanzaCondition, text: string): IqAnswer {
  return { kind: "error", fault: stanzaFault(condition, text) };
}
