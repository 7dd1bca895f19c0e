import { Element } from "ltx";

/** An element as some parser made it. Its class may come from another copy of ltx, so nothing else is relied on. */
export type ParsedElement = {
  readonly name: string;
  readonly attrs: Readonly<Record<string, string | undefined>>;
  readonly children: readonly (ParsedElement | string)[];
};

export type StanzaBounds = {
  /** About the bytes on the wire: names, attributes and text before escaping. */
  readonly maxBytes: number;
  /** Nesting. A deep stanza is small, yet it would exhaust the stack of whoever walks it. */
  readonly maxDepth: number;
};

export const STANZA_BYTES_MAX = 64 * 1024;
export const STANZA_DEPTH_MAX = 64;

/** A stanza brought in, or only its head (name and attributes) where it is over a bound. */
export type AdoptedStanza = { readonly kind: "stanza" | "too-big"; readonly stanza: Element };

/**
 * Copies a received stanza into our own class of element, without its stream as parent and without the content
 * namespace, so that it looks the same from a client link, a component link and memory. Iterative, and it stops at the
 * first bound crossed (S2).
 */
export function adoptStanza(parsed: ParsedElement, bounds: StanzaBounds): AdoptedStanza {
  const { xmlns: _content, ...head } = plainAttributes(parsed);
  const stanza = new Element(parsed.name, head);
  let bytes = sizeOf(parsed);
  const waiting: { from: ParsedElement; into: Element; depth: number }[] = [{ from: parsed, into: stanza, depth: 1 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next.depth > bounds.maxDepth) return { kind: "too-big", stanza: new Element(parsed.name, head) };
    for (const child of next.from.children) {
      bytes += typeof child === "string" ? Buffer.byteLength(child) : sizeOf(child);
      if (bytes > bounds.maxBytes) return { kind: "too-big", stanza: new Element(parsed.name, head) };
      if (typeof child === "string") {
        next.into.t(child);
      } else {
        const copy = next.into.c(child.name, plainAttributes(child));
        if (child.children.length > 0) waiting.push({ from: child, into: copy, depth: next.depth + 1 });
      }
    }
  }
  return { kind: "stanza", stanza };
}

/** Characters that XML 1.0 forbids, lone surrogates included: one of them makes a server close the whole stream. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/u;

/** Whether serialised XML carries a character that no XML document may carry. */
export function hasForbiddenCharacter(xml: string): boolean {
  return FORBIDDEN.test(xml);
}

function plainAttributes(parsed: ParsedElement): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(parsed.attrs)) if (value !== undefined) attributes[name] = String(value);
  return attributes;
}

function sizeOf(parsed: ParsedElement): number {
  let bytes = 2 * Buffer.byteLength(parsed.name) + 5;
  for (const [name, value] of Object.entries(parsed.attrs)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value ?? "") + 4;
  }
  return bytes;
}
