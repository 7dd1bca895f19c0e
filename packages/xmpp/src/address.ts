/** An XMPP address (RFC 7622), prepared: local part and domain in lower case, the resource as it is. */
export type Address = { readonly local: string; readonly domain: string; readonly resource: string };

/** Each part may take 1023 bytes (RFC 7622 section 3.1). */
const PART_BYTES_MAX = 1023;

/** Reads `local@domain/resource`; `undefined` where it is no address. Only the resource may contain `@` or `/`. */
export function parseAddress(text: string): Address | undefined {
  const slash = text.indexOf("/");
  const bare = slash < 0 ? text : text.slice(0, slash);
  const at = bare.indexOf("@");
  const local = at < 0 ? "" : bare.slice(0, at).toLowerCase();
  const domain = (at < 0 ? bare : bare.slice(at + 1)).toLowerCase();
  const resource = slash < 0 ? "" : text.slice(slash + 1);
  if (domain === "" || (at >= 0 && local === "") || (slash >= 0 && resource === "")) return undefined;
  if (/[\s@"&'<>]/.test(domain) || /[\s"&'/:<>]/.test(local)) return undefined;
  for (const part of [local, domain, resource]) if (Buffer.byteLength(part) > PART_BYTES_MAX) return undefined;
  return { local, domain, resource };
}

/** The prepared text of an address; what is no address is returned unchanged, equal to itself only. */
export function prepareAddress(text: string): string {
  const address = parseAddress(text);
  if (address === undefined) return text;
  return `${bareOf(address)}${address.resource === "" ? "" : `/${address.resource}`}`;
}

/** The address without its resource, prepared: what permissions are given to. */
export function bareAddress(text: string): string {
  const address = parseAddress(text);
  return address === undefined ? text : bareOf(address);
}

/** The domain an address lives at, prepared; "" where it is no address. */
export function domainOf(text: string): string {
  return parseAddress(text)?.domain ?? "";
}

/** Whether two texts name the same address. A bare address and a full one never do. */
export function sameAddress(one: string, other: string): boolean {
  return prepareAddress(one) === prepareAddress(other);
}

function bareOf({ local, domain }: Address): string {
  return local === "" ? domain : `${local}@${domain}`;
}
