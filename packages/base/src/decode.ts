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
  if (parsed.success) return ok(parsed.data);
  const faults = parsed.error.issues.flatMap((issue) => faultsOf(issue, schema));
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
  return [{ field, message: issue.message.slice(0, TEXT_MAX) }];
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
