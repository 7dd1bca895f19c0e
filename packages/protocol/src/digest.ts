import { createHash } from "node:crypto";
import { canonicalText } from "./canonical.ts";

/** SHA-256 of the canonical text, lower-case hex: tells two requests under one id apart (B1). */
export function digestOf(value: unknown): string {
  return createHash("sha256").update(canonicalText(value)).digest("hex");
}
