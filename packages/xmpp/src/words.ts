import { bareAddress } from "./address.ts";
import type { FormField, FormTable } from "./data-form.ts";

/** Who says a word, with what. */
export type WordCall = {
  /** Bare address, as the server vouches for it. */
  readonly by: string;
  /** By field name, each checked to be there where required, and to be one of the options. */
  readonly values: Readonly<Record<string, string>>;
};

/** What comes of it: always a sentence, a table where there is one to show. */
export type WordAnswer = {
  readonly kind: "done" | "refused";
  readonly note: string;
  readonly table?: FormTable;
};

/** One thing people can say, as an ad-hoc command and in chat alike. */
export type Word = {
  /** In chat, and the node of the command: `drain`. */
  readonly word: string;
  /** What it does, in one line. */
  readonly title: string;
  /** In the order in which chat takes them. */
  readonly fields: readonly FormField[];
  /** May this bare address say it? */
  readonly permits: (by: string) => boolean;
  readonly answer: (call: WordCall) => Promise<WordAnswer> | WordAnswer;
};

/** Longer values are nobody's host name or id. */
const VALUE_LENGTH_MAX = 1000;

/** The words of a manager: one registry behind ad-hoc commands and chat. Adding a word is adding a row. */
export class Words {
  readonly #words = new Map<string, Word>();
  readonly #onFault: (where: string, error: unknown) => void;

  constructor(words: readonly Word[], onFault: (where: string, error: unknown) => void) {
    this.#onFault = onFault;
    for (const word of words) {
      if (!/^[a-z][a-z0-9-]{0,31}$/.test(word.word)) throw new Error(`${word.word} is no word: a-z, 0-9, hyphen`);
      if (this.#words.has(word.word)) throw new Error(`the word ${word.word} is there twice`);
      this.#words.set(word.word, word);
    }
  }

  /** What this address may say, in order. Words it may not say are not shown to it. */
  permitted(from: string): readonly Word[] {
    const by = bareAddress(from);
    return [...this.#words.values()].filter((word) => word.permits(by));
  }

  /** `forbidden` also for words that do not exist, to those who may say none: they learn nothing by trying. */
  find(from: string, name: string): Word | "forbidden" | "unknown" {
    const word = this.#words.get(name);
    if (word?.permits(bareAddress(from)) === true) return word;
    return word !== undefined || this.permitted(from).length === 0 ? "forbidden" : "unknown";
  }

  /** Says a word that `find` gave. Never throws: what breaks is reported, and the person hears that it did (S3). */
  async say(word: Word, from: string, values: Readonly<Record<string, string>>): Promise<WordAnswer> {
    const fault = valueFault(word, values);
    if (fault !== undefined) return { kind: "refused", note: fault };
    const known = word.fields.flatMap(({ name }) => {
      const value = values[name]?.trim() ?? "";
      return value === "" ? [] : [[name, value] as const];
    });
    try {
      return await word.answer({ by: bareAddress(from), values: Object.fromEntries(known) });
    } catch (error) {
      this.#onFault(`word ${word.word}`, error);
      return { kind: "refused", note: `${word.word} failed on our side; it is in the log.` };
    }
  }
}

/** The first thing wrong with the values, as a sentence that names the field. */
function valueFault(word: Word, values: Readonly<Record<string, string>>): string | undefined {
  for (const { name, required, options } of word.fields) {
    const value = values[name]?.trim() ?? "";
    if (value === "" && required) return `${word.word} needs ${name}.`;
    if (value.length > VALUE_LENGTH_MAX) return `${name} is longer than ${VALUE_LENGTH_MAX} characters.`;
    if (value !== "" && options !== undefined && !options.includes(value)) {
      return `${name} is one of ${options.join(", ")}.`;
    }
  }
  return undefined;
}
