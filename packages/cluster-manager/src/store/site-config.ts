import { ok, type Result, readConfig } from "@muster/base";
import { anchorPaths, type Config, configSchema } from "../config.ts";

/** A manager's configuration with all paths absolute; its secrets are not read. The error names every fault. */
export function readSiteConfig(file: string): Result<Config, string> {
  const read = readConfig(file, configSchema);
  return read.ok ? ok(anchorPaths(read.value, file)) : { ok: false, error: read.error.message };
}
