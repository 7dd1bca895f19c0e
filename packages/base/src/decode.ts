import type { core, z } from "zod";
import { closest } from "./closest.ts";
import { err, ok, type Result } from "./result.ts";

/** One thing wrong with an outside input: which field, what is wrong, what to do (S1). */
export type FieldFault = {
  /** Path as a person writes it: `vms[2].memoryMiB`; "" for the whole input. */
  readonly field: string;
  readonly message: string;
};

/** Most faults named in one answer; the rest are counted, not listed (S2). */
const FAULTS_MAX = 20;
const TEXT_MAX = 200;

/** Checks an outside input against its schema once, at the border; all faults come back together. */
export function decode<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
): Result<z.output<Schema>, FieldFault[]> {
  const parsed = schema.safeParse(input);
  // Schemas pass over a key called `__proto__` in silence; an input that asks for it must not be taken without it.
  const hidden = hiddenKeys(input, [], 0);
  if (parsed.success && hidden.length === 0) return ok(parsed.data);
  const issues = parsed.success ? [] : parsed.error.issues;
  const faults = [...hidden, ...issues.flatMap((issue) => faultsOf(issue, schema))];
  const listed = faults.slice(0, FAULTS_MAX);
  const rest = faults.length - listed.length;
  return err(rest > 0 ? [...listed, { field: "", message: `and ${rest} more faults` }] : listed);
}

/** The faults as one sentence for people and logs. */
export function describeFaults(faults: readonly FieldFault[]): string {
  return faults.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`)).join("; ");
}

function faultsOf(issue: core.$ZodIssue, schema: z.ZodType): FieldFault[] {
  const field = pathText(issue.path);
  if (issue.code === "unrecognized_keys") {
    const known = keysAt(schema, issue.path);
    return issue.keys.map((key) => ({
      field: pathText([...issue.path, key.slice(0, 64)]),
      message: `unknown key${suggestion(key, known)}`,
    }));
  }
  return [{ field, message: remedyOf(issue).slice(0, TEXT_MAX) }];
}

const DEFAULT_TYPE_FAULT = /^Invalid input: expected (.+), received (.+)$/;

/** What the schema says itself; in its place, where it says nothing of its own, what is to be given. */
function remedyOf(issue: core.$ZodIssue): string {
  const { code, message, path } = issue;
  if (code === "too_big" && message.startsWith("Too big:")) return boundOf("most", issue.maximum, issue.origin);
  if (code === "too_small" && message.startsWith("Too small:")) return boundOf("least", issue.minimum, issue.origin);
  if (code === "invalid_value" && message.startsWith("Invalid option:"))
    return `must be one of ${issue.values.join(", ")}`;
  const said = code === "invalid_type" ? DEFAULT_TYPE_FAULT.exec(message) : null;
  if (said === null) return message;
  const [, expected = "", received = ""] = said;
  const wanted = `${/^[aeiou]/.test(expected) ? "an" : "a"} ${expected}`;
  if (received === "undefined" && path.length === 0) return `must be ${wanted}`;
  return received === "undefined" ? `is missing: give ${wanted}` : `must be ${wanted}, not ${received}`;
}

/** What is counted, by what the schema calls it; numbers are their own measure. */
const COUNTED: Readonly<Record<string, string>> = { string: " characters", array: " entries", set: " entries" };

function boundOf(side: "most" | "least", bound: number | bigint, origin: string): string {
  const counted = COUNTED[origin];
  return counted === undefined ? `must be at ${side} ${bound}` : `must have at ${side} ${bound}${counted}`;
}

/** Depth to which inputs are searched: far beyond what any of our schemas describes. */
const DEPTH_MAX = 32;

function hiddenKeys(input: unknown, path: readonly PropertyKey[], depth: number): FieldFault[] {
  if (typeof input !== "object" || input === null || depth > DEPTH_MAX) return [];
  const here = Object.hasOwn(input, "__proto__")
    ? [{ field: pathText([...path, "__proto__"]), message: "is no name to use: choose another" }]
    : [];
  const keys = Array.isArray(input) ? input.map((_, index) => index) : Object.keys(input);
  const inner: Readonly<Record<PropertyKey, unknown>> = Object(input);
  return [
    ...here,
    ...keys.flatMap((key) => (key === "__proto__" ? [] : hiddenKeys(inner[key], [...path, key], depth + 1))),
  ];
}

function suggestion(key: string, known: readonly string[]): string {
  const near = closest(key, known);
  if (near !== undefined) return `; did you mean "${near}"?`;
  return known.length > 0 ? `; known keys: ${known.join(", ")}` : "";
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? String(part) : `${text}.${String(part)}`;
  }, "");
}

/** The keys that the schema knows at `path`, for the suggestion; empty where the schema is not a plain object. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = schema;
  for (const part of path) {
    const inner = unwrap(at);
    if (hasShape(inner)) at = inner.shape[String(part)];
    else if (hasElement(inner)) at = inner.element;
    else return [];
  }
  const last = unwrap(at);
  const choices = hasOptions(last) ? last.options.map(unwrap) : [last];
  return [...new Set(choices.flatMap((choice) => (hasShape(choice) ? Object.keys(choice.shape) : [])))];
}

function unwrap(schema: unknown): unknown {
  let at = schema;
  for (let depth = 0; depth < 8; depth += 1) {
    const definition = innerOf(at);
    if (definition === undefined) return at;
    at = definition;
  }
  return at;
}

function innerOf(schema: unknown): unknown {
  if (typeof schema !== "object" || schema === null || !("def" in schema)) return undefined;
  const { def } = schema;
  if (typeof def !== "object" || def === null) return undefined;
  if ("innerType" in def) return def.innerType;
  // What is changed before it is checked is checked as what comes out.
  if ("in" in def && "out" in def) return isTransform(def.in) ? def.out : def.in;
  return undefined;
}

function hasShape(schema: unknown): schema is { shape: Record<string, unknown> } {
  return typeof schema === "object" && schema !== null && "shape" in schema && typeof schema.shape === "object";
}

/** A union. */
function hasOptions(schema: unknown): schema is { options: readonly unknown[] } {
  return typeof schema === "object" && schema !== null && "options" in schema && Array.isArray(schema.options);
}

function isTransform(schema: unknown): boolean {
  return typeof schema === "object" && schema !== null && "def" in schema && innerType(schema.def) === "transform";
}

function innerType(definition: unknown): unknown {
  return typeof definition === "object" && definition !== null && "type" in definition ? definition.type : undefined;
}

function hasElement(schema: unknown): schema is { element: unknown } {
  return typeof schema === "object" && schema !== null && "element" in schema;
}
