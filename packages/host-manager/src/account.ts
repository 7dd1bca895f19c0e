import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type ConfigFault, err, ok, type Result, type Rng, readSecret } from "@muster/base";
import type { HostConfig } from "./config.ts";

/** What the host logs in with. */
export type Account = { readonly password: string; readonly enrolToken?: string; readonly caPem?: string };

const PASSWORD_BYTES = 24;

/** Reads the secrets that the configuration names. A host that enrols chooses its password itself, once. */
export function readAccount({ xmpp }: Pick<HostConfig, "xmpp">, rng: Rng): Result<Account, ConfigFault> {
  const { passwordFile, caFile, enrolTokenFile } = xmpp;
  const token = enrolTokenFile === undefined || !existsSync(enrolTokenFile) ? undefined : readSecret(enrolTokenFile);
  if (token?.ok === false) return token;
  if (token !== undefined && !existsSync(passwordFile)) {
    const made = makePassword(passwordFile, rng);
    if (!made.ok) return made;
  }
  const password = readSecret(passwordFile);
  if (!password.ok) return password;
  const caPem = caFile === undefined ? undefined : readSecret(caFile);
  if (caPem?.ok === false) return caPem;
  return ok({
    password: password.value,
    ...(token === undefined ? {} : { enrolToken: token.value }),
    ...(caPem === undefined ? {} : { caPem: caPem.value }),
  });
}

function makePassword(path: string, rng: Rng): Result<void, ConfigFault> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, `${Buffer.from(rng.bytes(PASSWORD_BYTES)).toString("base64url")}\n`, {
      mode: 0o600,
      flag: "wx",
    });
    chmodSync(path, 0o600);
    return ok(undefined);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return err({ path, message: `${path} cannot be written with a new password: ${reason}` });
  }
}
