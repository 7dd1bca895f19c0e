import { createHash, timingSafeEqual } from "node:crypto";
import { type ConfigFault, ok, type Result, readConfig } from "@muster/base";
import { digestSchema, projectNameSchema, userNameSchema } from "@muster/protocol";
import { z } from "zod";
import type { Actor } from "../core/event.ts";

const tokenSchema = z.strictObject({
  /** For people: which of them to take out when one leaks. */
  name: userNameSchema,
  /** SHA-256 of the token, lower-case hex: the file holds no secret. */
  sha256: digestSchema,
  user: userNameSchema,
  role: z.enum(["admin", "user", "viewer"]),
  /** Projects it may see and act in; `"*"` for all. */
  projects: z
    .array(z.union([z.literal("*"), projectNameSchema]))
    .max(200)
    .default([]),
  /** What it may do beside its role: `backup` reads all records of the site, for a token that does nothing else. */
  may: z
    .array(z.enum(["backup"]))
    .max(1)
    .default([]),
});

const tokensFileSchema = z.strictObject({ tokens: z.array(tokenSchema).max(1_000) });

/** As the file has it; what is left out is none. */
type TokenEntry = Omit<z.output<typeof tokenSchema>, "may"> & Partial<Pick<z.output<typeof tokenSchema>, "may">>;

/** Who a bearer token stands for, or `undefined`. */
export type BearerTokens = (authorization: string | undefined) => Actor | undefined;

/** Longest token looked at. */
const TOKEN_LENGTH_MAX = 512;

/** Reads the tokens file: `tokens: [{name, sha256, user, role, projects}]`. */
export function readBearerTokens(path: string): Result<BearerTokens, ConfigFault> {
  const file = readConfig(path, tokensFileSchema);
  return file.ok ? ok(bearerTokens(file.value.tokens)) : file;
}

/** Compares digests in constant time, and always all of them: the time taken tells nothing about any. */
export function bearerTokens(tokens: readonly TokenEntry[]): BearerTokens {
  const known = tokens.map(({ sha256, user, role, projects, may }) => ({
    digest: Buffer.from(sha256, "hex"),
    actor: { user, role, projects, ...(may?.includes("backup") === true ? { backup: true } : {}) } satisfies Actor,
  }));
  return (authorization) => {
    const [, token] = /^Bearer +([A-Za-z0-9._~+/=-]+)$/i.exec(authorization ?? "") ?? [];
    if (token === undefined || token.length > TOKEN_LENGTH_MAX) return undefined;
    const digest = createHash("sha256").update(token).digest();
    let found: Actor | undefined;
    for (const { digest: expected, actor } of known) if (timingSafeEqual(digest, expected)) found ??= actor;
    return found;
  };
}
