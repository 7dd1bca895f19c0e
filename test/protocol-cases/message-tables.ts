/** The tables of `docs/protocol-messages.md`, made of the messages themselves: what they say is what the code checks. */

import type { Message } from "@muster/protocol";
import * as protocol from "@muster/protocol";
import { z } from "zod";

type Named = { readonly folder: string; readonly message: Message<unknown> };
type Forms = Message<unknown>["fields"];
type Form = Forms[string]["form"];

/** What `z.toJSONSchema` says of a value, as far as the tables show it. */
const shapeSchema = z.object({
  type: z.string().optional(),
  enum: z.array(z.unknown()).optional(),
  const: z.unknown().optional(),
  pattern: z.string().optional(),
  format: z.string().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  minLength: z.number().optional(),
  maxLength: z.number().optional(),
  minItems: z.number().optional(),
  maxItems: z.number().optional(),
  default: z.unknown().optional(),
  required: z.array(z.string()).optional(),
  get properties() {
    return z.record(z.string(), shapeSchema).optional();
  },
  get items() {
    return shapeSchema.optional();
  },
  get anyOf() {
    return z.array(shapeSchema).optional();
  },
  get oneOf() {
    return z.array(shapeSchema).optional();
  },
  get propertyNames() {
    return shapeSchema.optional();
  },
  get additionalProperties() {
    return z.union([z.boolean(), shapeSchema]).optional();
  },
});
type Shape = z.output<typeof shapeSchema>;

type Part = { readonly title: string; readonly forms: Forms; readonly shape: Shape };

const HEAD = `# Messages

Every message of [the protocol](protocol.md), field by field. This page is made of the code's own definitions
(\`npx vitest run --project system test/protocol-cases -u\` writes it anew); the pairs of XML and value in
\`test/protocol-cases\` are its conformance set.

*Attribute* and *child* say where the field stands in the element, under the name given; *children* means one child of that
name for each entry. *Key* is the field's name in the value: the pairs have it, and the canonical text. Fields not marked *required* may be absent. Unknown attributes and children are ignored, except a
child that carries \`required="true"\`. Whole numbers are decimal, without sign unless negative; flags are \`true\` or
\`false\`. Lengths are in UTF-16 code units.
`;

/** The whole page. */
export function messageTables(messages: readonly Named[]): string {
  const parts: Part[] = [];
  const chapters = [...new Set(messages.map(({ message }) => message.namespace))].sort();
  const body = chapters.map((namespace) => {
    const own = messages.filter(({ message }) => message.namespace === namespace);
    return [`\n## \`${namespace}\`\n`, ...own.map((named) => messageChapter(named, parts))].join("\n");
  });
  const shown: string[] = [];
  // Parts name further parts while they are shown.
  for (let index = 0; index < parts.length; index += 1) {
    const part = parts[index];
    if (part) shown.push(`### ${part.title}\n\n${table(part.forms, part.shape, part.title, parts)}`);
  }
  const patterns = [...PATTERNS].map(([pattern, name]) => `| ${name} | \`${pattern.replaceAll("|", "\\|")}\` |`);
  const patternTable = ["| text | pattern |", "|---|---|", ...patterns, ""].join("\n");
  return [HEAD, ...body, "\n## Parts\n", ...shown, "\n## Patterns\n", patternTable].join("\n");
}

/** Names of the patterns that texts keep to: those of the schemas that `@muster/protocol` gives to everyone. */
const PATTERNS: ReadonlyMap<string, string> = new Map(
  Object.entries(protocol)
    .flatMap(([name, value]) => (value instanceof z.ZodType && name.endsWith("Schema") ? [{ name, value }] : []))
    .flatMap(({ name, value }) => {
      const { pattern } = shapeSchema.parse(z.toJSONSchema(value, { io: "input", unrepresentable: "any" }));
      return pattern === undefined ? [] : [[pattern, words(name.slice(0, -"Schema".length))] as const];
    })
    .reverse(),
);

function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function messageChapter({ folder, message }: Named, parts: Part[]): string {
  const shape = shapeSchema.parse(z.toJSONSchema(message.schema, { io: "input", unrepresentable: "any" }));
  const example = `Cases: \`test/protocol-cases/${folder}/\`.`;
  return `### \`<${message.name}/>\`\n\n${example}\n\n${table(message.fields, shape, message.name, parts)}`;
}

function table(forms: Forms, shape: Shape, owner: string, parts: Part[]): string {
  const kinds = shape.oneOf ?? shape.anyOf;
  const rows = Object.entries(forms).map(([key, { form, childName }]) => {
    const own = kinds === undefined ? (shape.properties?.[key] ?? {}) : ofKinds(kinds, key);
    const wire = childName(key) ?? key.replace(/MiB/, "-mib").replace(/GiB/, "-gib").replace(/[A-Z]/g, dashed);
    const required = kinds === undefined ? need(shape, own, key) : needOfKinds(kinds, key);
    const what = describe(form, own, { name: TITLES[key] ?? wire, owner, parts });
    return `| \`${wire}\` | ${form.in} | \`${key}\` | ${what.replaceAll("|", "\\|")} | ${required} |`;
  });
  return ["| name | where | key | value | |", "|---|---|---|---|---|", ...rows, ""].join("\n");
}

function dashed(letter: string): string {
  return `-${letter.toLowerCase()}`;
}

function need({ required }: Shape, own: Shape, key: string): string {
  if (required?.includes(key) === true) return "required";
  return own.default === undefined ? "" : `absent: \`${JSON.stringify(own.default)}\``;
}

/** A field of something that is of one of several kinds, told apart by a word in `kind`. */
function ofKinds(kinds: readonly Shape[], key: string): Shape {
  const found = kinds.flatMap(({ properties }) => properties?.[key] ?? []);
  const words = found.flatMap(({ const: only }) => (only === undefined ? [] : [only]));
  return words.length > 1 ? { enum: words } : (found[0] ?? {});
}

function needOfKinds(kinds: readonly Shape[], key: string): string {
  const having = kinds.filter(({ properties }) => properties?.[key] !== undefined);
  if (having.length === kinds.length && kinds.every(({ required }) => required?.includes(key))) return "required";
  const said = having.map((kind) => {
    const name = String(kind.properties?.kind?.const ?? "");
    return kind.required?.includes(key) === true ? `\`${name}\` (required)` : `\`${name}\``;
  });
  return `with ${said.join(", ")}`;
}

/** Of parts that stand under several names, the one that says what they are. */
const TITLES: Readonly<Record<string, string>> = { free: "resources" };

type Place = { readonly name: string; readonly owner: string; readonly parts: Part[] };

function describe(form: Form, shape: Shape, place: Place): string {
  const each = form.in === "children" ? (shape.items ?? shape) : shape;
  const many = form.in === "children" ? count(shape) : "";
  switch (form.holds) {
    case "fields":
      return `${partOf(form.fields ?? {}, each, place)}${many}`;
    case "name and value": {
      const values = typeof shape.additionalProperties === "object" ? shape.additionalProperties : {};
      return `\`name\`: ${scalar(shape.propertyNames ?? {})}; \`value\`: ${scalar(values)}`;
    }
    case "flag":
      return "flag";
    case "whole number":
      return `whole number${range(shape)}`;
    case "text":
      return `${scalar(each)}${many}`;
  }
}

/** A link to the part's own table; parts with the same fields are one. */
function partOf(forms: Forms, shape: Shape, { name, owner, parts }: Place): string {
  const known = parts.find((part) => part.forms === forms);
  if (known) return `[${known.title}](#${anchor(known.title)})`;
  const taken = parts.some((part) => part.title === name);
  const title = taken ? `${name} of ${owner}` : name;
  parts.push({ title, forms, shape });
  return `[${title}](#${anchor(title)})`;
}

function anchor(title: string): string {
  return title.toLowerCase().replaceAll(" ", "-");
}

function scalar(shape: Shape): string {
  if (shape.anyOf) return shape.anyOf.map(scalar).join(" or ");
  if (shape.const !== undefined) return `\`${String(shape.const)}\``;
  if (shape.enum) return shape.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (shape.format) return shape.format === "date-time" ? "date and time (RFC 3339, UTC)" : shape.format;
  const length = lengths(shape);
  if (shape.pattern === undefined) return `text${length}`;
  const name = PATTERNS.get(shape.pattern);
  return name === undefined ? `text \`${shape.pattern}\`${length}` : `[${name}](#patterns)${length}`;
}

function lengths({ minLength, maxLength }: Shape): string {
  if (minLength === undefined && maxLength === undefined) return "";
  if (maxLength === undefined) return `, at least ${minLength} long`;
  return minLength === undefined ? `, up to ${maxLength}` : `, ${minLength} to ${maxLength} long`;
}

function range({ minimum, maximum, enum: values, const: only }: Shape): string {
  if (only !== undefined) return `, ${String(only)}`;
  if (values) return `: ${values.map(String).join(", ")}`;
  if (minimum !== undefined && minimum === maximum) return `, ${minimum}`;
  const most = maximum === Number.MAX_SAFE_INTEGER ? "2^53 − 1" : maximum;
  if (minimum === undefined) return most === undefined ? "" : `, up to ${most}`;
  return most === undefined ? `, from ${minimum}` : `, ${minimum} to ${most}`;
}

function count({ minItems, maxItems }: Shape): string {
  if (minItems === undefined && maxItems === undefined) return "; any number";
  return `; ${minItems ?? 0} to ${maxItems ?? "any number"}`;
}
