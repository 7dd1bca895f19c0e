/** What a contact shows: `available`, `away`, `dnd`, `xa` or `unavailable`, and its status line. */
export type Shown = { readonly show: string; readonly status: string };

/** An attribute of a stanza's own tag. */
export function attribute(stanza: string, name: string): string {
  const [tag = ""] = /^<[^>]*>/.exec(stanza) ?? [];
  return (
    new RegExp(`\\s${name}=(?:'([^']*)'|"([^"]*)")`)
      .exec(tag)
      ?.slice(1)
      .find((value) => value !== undefined) ?? ""
  );
}

/** The text of the first element of that name. */
export function textOf(stanza: string, name: string): string {
  return new RegExp(`<${name}[^>]*>([\\s\\S]*?)</${name}>`).exec(stanza)?.[1] ?? "";
}

/** What a presence stanza shows of a contact; nothing where it is another's, or no word about availability. */
export function shownIn(stanza: string, contact: string): readonly Shown[] {
  if (!stanza.startsWith("<presence") || attribute(stanza, "from").split("/")[0] !== contact) return [];
  const type = attribute(stanza, "type");
  if (type !== "" && type !== "unavailable") return [];
  return [{ show: type || textOf(stanza, "show") || "available", status: textOf(stanza, "status") }];
}
