/**
 * The site's private keys as every manager reads them: PEM blocks (PKCS #8) in one file, the oldest first. The store says
 * which of them signs; private keys are in no record, no backup and no stanza (S3).
 */
import { err, ok, type Result, readSecret } from "@muster/base";
import { generateSiteKey, type SiteKey, siteKeyFromPem } from "@muster/broker";

/** Most keys that one file holds (S2). */
const KEYS_MAX = 32;

export type SiteKeys = {
  /** As last read, in the order of the file; never empty. */
  keys(): readonly SiteKey[];
  /** Public keys that peers may pin; empty where the key is one of the moment. */
  lasting(): readonly string[];
  /** Reads the file again; what was read before stays where it cannot be read. */
  reload(): Result<readonly string[], string>;
};

/** A site without peers signs nothing that anybody checks: a key of the moment will do. */
export function readSiteKeys(file: string | undefined): Result<SiteKeys, string> {
  if (file === undefined) return ok(momentaryKey());
  const first = readKeys(file);
  if (!first.ok) return first;
  let keys = first.value;
  const lasting = (): readonly string[] => keys.map(({ publicKey }) => publicKey);
  return ok({
    keys: () => keys,
    lasting,
    reload() {
      const read = readKeys(file);
      if (!read.ok) return read;
      keys = read.value;
      return ok(lasting());
    },
  });
}

/** Keys that are in no file. */
export function fixedKeys(...keys: readonly SiteKey[]): SiteKeys {
  const lasting = (): readonly string[] => keys.map(({ publicKey }) => publicKey);
  return { keys: () => keys, lasting, reload: () => ok(lasting()) };
}

function momentaryKey(): SiteKeys {
  return { ...fixedKeys(generateSiteKey()), lasting: () => [], reload: () => ok([]) };
}

function readKeys(file: string): Result<readonly SiteKey[], string> {
  const text = readSecret(file);
  if (!text.ok) return err(text.error.message);
  const blocks = text.value.match(/-----BEGIN [A-Z ]+-----[^-]*-----END [A-Z ]+-----/g) ?? [];
  if (blocks.length === 0)
    return err(`${file}: the site key cannot be read; make one: openssl genpkey -algorithm ed25519`);
  if (blocks.length > KEYS_MAX) return err(`${file}: holds more than ${KEYS_MAX} keys; take the oldest out`);
  const keys: SiteKey[] = [];
  for (const [index, block] of blocks.entries()) {
    const key = siteKeyFromPem(`${block}\n`);
    if (!key.ok) return err(`${file}: key ${index + 1}: ${key.error}`);
    keys.push(key.value);
  }
  return ok(keys);
}
