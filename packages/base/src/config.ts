import { readFileSync, statSync } from "node:fs";
import { parseDocument } from "yaml";
import type { z } from "zod";
import { decode, describeFaults } from "./decode.ts";
import { err, ok, type Result } from "./result.ts";

/** Largest configuration or secret file that is read (S2). */
const FILE_BYTES_MAX = 1024 * 1024;

/** Why a configuration file is not usable, as one sentence that names file, field and remedy. */
export type ConfigFault = { readonly path: string; readonly message: string };

/** Reads a YAML file once, checks it against its schema, and returns a frozen value or all faults together. */
export function readConfig<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Result<z.output<Schema>, ConfigFault> {
  const text = readBounded(path);
  if (!text.ok) return text;
  const document = parseYaml(text.value);
  if (!document.ok) return err({ path, message: `${path} is not valid YAML: ${document.error}` });
  const decoded = decode(schema, document.value ?? {});
  if (!decoded.ok) return err({ path, message: `${path}: ${describeFaults(decoded.error)}` });
  return ok(deepFreeze(decoded.value));
}

/** Aliases are not resolved: a few lines of them can stand for gigabytes. */
function parseYaml(text: string): Result<unknown, string> {
  try {
    const document = parseDocument(text, { uniqueKeys: true });
    const [fault] = document.errors;
    return fault === undefined ? ok(document.toJS({ maxAliasCount: 0 })) : err(fault.message);
  } catch (cause) {
    return err(cause instanceof Error ? cause.message : String(cause));
  }
}

/** Reads a secret (password, token, key) from a file of its own; a trailing line break is not part of it. */
export function readSecret(path: string): Result<string, ConfigFault> {
  const text = readBounded(path);
  if (!text.ok) return text;
  const secret = text.value.replace(/\r?\n$/, "");
  return secret === "" ? err({ path, message: `${path} is empty; it must hold the secret` }) : ok(secret);
}

function readBounded(path: string): Result<string, ConfigFault> {
  try {
    const { size } = statSync(path);
    if (size > FILE_BYTES_MAX) return err({ path, message: `${path} is larger than ${FILE_BYTES_MAX} bytes` });
    return ok(readFileSync(path, "utf8"));
  } catch (cause) {
    return err({ path, message: readFaultText(path, cause) });
  }
}

function readFaultText(path: string, cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ENOENT") return `${path} does not exist; create it or name another file`;
  if (code === "EACCES") return `${path} cannot be read by this user; check its owner and mode`;
  return `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`;
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
