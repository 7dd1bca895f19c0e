/** What a seed is written in: the part of YAML that every reader of it understands, also one of a few lines of shell. */
export type YamlValue = string | number | boolean | readonly YamlValue[] | { readonly [key: string]: YamlValue };

/** Block style, two spaces a level. Texts stand plain where that is safe and in double quotes, as in JSON, where not. */
export function yamlText(value: { readonly [key: string]: YamlValue }): string {
  const lines = linesOf(value, "");
  return lines.length === 0 ? "{}\n" : `${lines.join("\n")}\n`;
}

function linesOf(value: YamlValue, indent: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item: YamlValue) => entry(`${indent}-`, item, `${indent}  `));
  if (typeof value === "object") {
    return Object.entries(value).flatMap(([key, item]) => entry(`${indent}${scalar(key)}:`, item, `${indent}  `));
  }
  return [`${indent}${scalar(value)}`];
}

function entry(lead: string, item: YamlValue, indent: string): string[] {
  if (typeof item !== "object") return [`${lead} ${scalar(item)}`];
  const lines = linesOf(item, indent);
  if (lines.length === 0) return [`${lead} ${Array.isArray(item) ? "[]" : "{}"}`];
  return [lead, ...lines];
}

/** Begins with a letter, has nothing that ends a plain scalar, and is no other type's word or number. */
const PLAIN = /^[A-Za-z][A-Za-z0-9+/=@._-]*( [A-Za-z0-9+/=@._-]+)*$/;
const WORDS_OF_OTHER_TYPES = /^(?:y|yes|n|no|true|false|on|off|null)$/i;

function scalar(value: Exclude<YamlValue, object>): string {
  if (typeof value !== "string") return String(value);
  return PLAIN.test(value) && !WORDS_OF_OTHER_TYPES.test(value) ? value : JSON.stringify(value);
}
