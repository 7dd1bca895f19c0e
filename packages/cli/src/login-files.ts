/** What lets a user into a guest, read from files of this machine. */
import { readFileSync, statSync } from "node:fs";
import { err, ok, type Result } from "@muster/base";
import { sshKeySchema, USER_DATA_BYTES_MAX } from "@muster/protocol";

/** Largest file that is looked into at all (S2). */
const FILE_BYTES_MAX = 256 * 1024;

/** All public keys of the files, one a line as in `authorized_keys`; comments and empty lines are left out. */
export function readSshKeys(paths: readonly string[]): Result<string[], string> {
  const keys: string[] = [];
  for (const path of paths) {
    const text = readText(path);
    if (!text.ok) return text;
    if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text.value))
      return err(`${path} is a private key, which stays with you: give its .pub file`);
    const lines = text.value.split(/\r?\n/).map((line) => line.trim());
    const found = lines.filter((line) => line !== "" && !line.startsWith("#"));
    if (found.length === 0) return err(`${path} holds no public key`);
    for (const line of found) {
      const key = sshKeySchema.safeParse(line);
      if (!key.success) return err(`${path}: ${key.error.issues[0]?.message ?? "is no public key"}`);
      keys.push(key.data);
    }
  }
  return ok([...new Set(keys)]);
}

/** The text of a user-data file. */
export function readUserData(path: string): Result<string, string> {
  const text = readText(path);
  if (!text.ok) return text;
  const bytes = Buffer.byteLength(text.value, "utf8");
  if (bytes > USER_DATA_BYTES_MAX)
    return err(`${path} has ${bytes} bytes, at most ${USER_DATA_BYTES_MAX} go along: fetch the rest inside the guest`);
  return ok(text.value);
}

function readText(path: string): Result<string, string> {
  try {
    const { size } = statSync(path);
    if (size > FILE_BYTES_MAX) return err(`${path} has ${size} bytes: this is not the file that was meant`);
    return ok(readFileSync(path, "utf8"));
  } catch (cause) {
    return err(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}
