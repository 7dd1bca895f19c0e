/** What a configuration file of Prosody may hold. Keys of tables are written in the order given. */
export type LuaValue = string | number | boolean | readonly LuaValue[] | { readonly [key: string]: LuaValue };

/**
 * A Lua 5.4 string literal (reference manual, section 3.1) that reads back as the UTF-8 bytes of `text`.
 * Everything outside printable ASCII is written as a three-digit escape, so no content can end the literal.
 */
export function luaString(text: string): string {
  let literal = "";
  for (const byte of Buffer.from(text, "utf8")) {
    if (byte === 0x22 || byte === 0x5c) literal += `\\${String.fromCharCode(byte)}`;
    else if (byte >= 0x20 && byte <= 0x7e) literal += String.fromCharCode(byte);
    else literal += `\\${String(byte).padStart(3, "0")}`;
  }
  return `"${literal}"`;
}

/** A Lua expression for `value`; numbers must be finite. */
export function lua(value: LuaValue): string {
  if (typeof value === "string") return luaString(value);
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new RangeError(`no Lua literal for ${value}`);
    return String(value);
  }
  if (isList(value)) return value.length === 0 ? "{}" : `{ ${value.map(lua).join(", ")} }`;
  const fields = Object.entries(value).map(([key, field]) => `${luaKey(key)} = ${lua(field)}`);
  return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`;
}

const PLAIN_KEY = /^[a-z_][a-z0-9_]*$/;
const RESERVED = new Set(
  "and break do else elseif end false for function goto if in local nil not or repeat return then true until while".split(
    " ",
  ),
);

function luaKey(key: string): string {
  return PLAIN_KEY.test(key) && !RESERVED.has(key) ? key : `[${luaString(key)}]`;
}

function isList(value: readonly LuaValue[] | { readonly [key: string]: LuaValue }): value is readonly LuaValue[] {
  return Array.isArray(value);
}
