/**
 * Text as it may be shown on a terminal: what hosts and peers wrote must not move the cursor, colour or clear anything.
 * Machines get it as it is, escaped by their format.
 */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "?");
}
