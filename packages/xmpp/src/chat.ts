import type { Clock } from "@muster/base";
import { Element } from "ltx";
import { bareAddress, sameAddress } from "./address.ts";
import type { Bus, IncomingStanza, Unsubscribe } from "./bus.ts";
import type { FormTable } from "./data-form.ts";
import type { Word, Words } from "./words.ts";

export type ChatOptions = {
  readonly words: Words;
  /** The address people write to: the component's domain. */
  readonly address: string;
  readonly clock: Clock;
};

/** Lines being answered at one time; who writes beyond that is asked to wait (S2). */
const IN_FLIGHT_MAX = 64;

/** A stranger hears that it is one, once in this time, so that two robots do not talk for ever. */
const STRANGER_EVERY_MS = 60_000;
const STRANGERS_MAX = 1000;
const LINE_LENGTH_MAX = 1000;
/** Well under the stanza bound; a longer table belongs in the command line. */
const ANSWER_LENGTH_MAX = 8000;

/** Answers the same words in chat: `why 0198c0de` is the command `why` with its first field filled in. */
export function serveChat(bus: Pick<Bus, "onMessage" | "send">, options: ChatOptions): Unsubscribe {
  const strangers = new Map<string, number>();
  let inFlight = 0;
  return bus.onMessage((message) => {
    const line = lineOf(message, options.address);
    if (line === undefined) return;
    if (options.words.permitted(message.from).length === 0) {
      if (isDue(strangers, bareAddress(message.from), options.clock.nowMs())) {
        void bus.send(replyTo(message, "You have no permission here. Ask the administrator of this site."));
      }
      return;
    }
    if (inFlight >= IN_FLIGHT_MAX) {
      void bus.send(replyTo(message, "Too many people are asking at once; ask again in a moment."));
      return;
    }
    inFlight += 1;
    void answer(options.words, message.from, line).then((text) => {
      inFlight -= 1;
      return bus.send(replyTo(message, text));
    });
  });
}

/** What a person typed; `undefined` for what is not for us, or was not typed by a person (XEP-0334, errors, old ones). */
function lineOf({ to, type, stanza }: IncomingStanza, address: string): string | undefined {
  if (!sameAddress(bareAddress(to), address) || (type !== "" && type !== "chat" && type !== "normal")) return undefined;
  if (stanza.getChild("delay", "urn:xmpp:delay") !== undefined) return undefined;
  const line = stanza.getChildText("body")?.trim() ?? "";
  return line === "" ? undefined : line;
}

async function answer(words: Words, from: string, line: string): Promise<string> {
  if (line.length > LINE_LENGTH_MAX) return `A line may have ${LINE_LENGTH_MAX} characters.`;
  const [name = "", ...given] = line.split(/\s+/);
  const word = words.find(from, name.toLowerCase());
  if (word === "forbidden") return `You may not use ${name}.`;
  if (word === "unknown") return `There is no ${name.slice(0, 40)}.\n${listOf(words.permitted(from))}`;
  if (given.length > word.fields.length && word.fields.length === 0) return `${word.word} takes nothing more.`;
  const { note, table } = await words.say(word, from, valuesOf(word, given));
  const text = table === undefined ? note : `${note}\n${tableText(table)}`;
  return text.length > ANSWER_LENGTH_MAX ? `${text.slice(0, ANSWER_LENGTH_MAX)}\n… and more` : text;
}

/** The last field takes the rest of the line. */
function valuesOf(word: Word, given: readonly string[]): Record<string, string> {
  const last = word.fields.length - 1;
  return Object.fromEntries(
    word.fields.map(({ name }, index) => [name, index === last ? given.slice(index).join(" ") : (given[index] ?? "")]),
  );
}

function listOf(words: readonly Word[]): string {
  return words.map(({ word, fields, title }) => `${[word, ...fields.map(shownField)].join(" ")} – ${title}`).join("\n");
}

function shownField({ name, required }: Word["fields"][number]): string {
  return required ? `<${name}>` : `[${name}]`;
}

function tableText({ columns, rows }: FormTable): string {
  return rows.map((row) => columns.map(({ label }, index) => `${label}: ${row[index] ?? ""}`).join(", ")).join("\n");
}

function isDue(strangers: Map<string, number>, stranger: string, nowMs: number): boolean {
  const lastMs = strangers.get(stranger);
  if (lastMs !== undefined && nowMs - lastMs < STRANGER_EVERY_MS) return false;
  if (lastMs === undefined && strangers.size >= STRANGERS_MAX) {
    for (const [old, oldMs] of strangers) if (nowMs - oldMs >= STRANGER_EVERY_MS) strangers.delete(old);
    if (strangers.size >= STRANGERS_MAX) return false;
  }
  strangers.set(stranger, nowMs);
  return true;
}

function replyTo({ from, to, type, stanza }: IncomingStanza, text: string): Element {
  const reply = new Element("message", { to: from, from: to, type: type === "" ? "normal" : type });
  reply.c("body").t(text);
  const thread = stanza.getChildText("thread");
  if (thread !== null) reply.c("thread").t(thread);
  return reply;
}
