/**
 * SCRAM (RFC 5802) for the SASL factory of xmpp.js, with the password stretched by Node's own PBKDF2: the library's
 * mechanism makes ten thousand asynchronous calls a login, which costs most of a second of CPU; this one milliseconds.
 * Who the server is, is for its TLS certificate to prove: the factory never hands the server's last message on.
 */
import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";

/** What the factory asks of a mechanism (interface of `saslmechanisms`). */
export type SaslMechanism = {
  readonly name: string;
  readonly clientFirst: boolean;
  challenge(text: string): void;
  response(credentials: SaslCredentials): Promise<string>;
};
export type SaslCredentials = { readonly username?: string | null; readonly password?: string | null };

/** Fewer are no protection (RFC 7677 section 4), more would let a server keep us busy (S2). */
const ITERATIONS_MIN = 4_096;
const ITERATIONS_MAX = 1_000_000;
/** Length of the hash in bytes. */
const HASHES = { "SCRAM-SHA-1": ["sha1", 20], "SCRAM-SHA-256": ["sha256", 32] } as const;
const stretch = promisify(pbkdf2);

/** The class that `saslFactory.use` takes. */
export function scramMechanism(name: keyof typeof HASHES, nonce: () => string = randomNonce): new () => SaslMechanism {
  const [hash, hashBytes] = HASHES[name];
  const hmac = (key: Buffer, text: string): Buffer => createHmac(hash, key).update(text).digest();
  return class implements SaslMechanism {
    readonly name = name;
    readonly clientFirst = true;
    readonly #nonce = nonce();
    #challenge: string | undefined;

    challenge(text: string): void {
      this.#challenge = text;
    }

    async response({ username, password }: SaslCredentials): Promise<string> {
      const first = `n=${escaped(username ?? "")},r=${this.#nonce}`;
      if (this.#challenge === undefined) return `n,,${first}`;
      const { salt, iterations, nonce: joined } = readChallenge(this.#challenge, this.#nonce);
      const salted = await stretch((password ?? "").normalize("NFKC"), salt, iterations, hashBytes, hash);
      // "biws" is "n,," in base64: no channel binding.
      const last = `c=biws,r=${joined}`;
      const clientKey = hmac(salted, "Client Key");
      const storedKey = createHash(hash).update(clientKey).digest();
      const signature = hmac(storedKey, `${first},${this.#challenge},${last}`);
      const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
      return `${last},p=${proof.toString("base64")}`;
    }
  };
}

/** The server's first message (RFC 5802 section 5.1); throws where it is none, or answers somebody else's nonce. */
function readChallenge(
  text: string,
  ours: string,
): { readonly salt: Buffer; readonly iterations: number; readonly nonce: string } {
  const parts = new Map(text.split(",").map((part) => [part.slice(0, 2), part.slice(2)]));
  const nonce = parts.get("r=") ?? "";
  const iterations = Number(parts.get("i="));
  if (parts.has("m=")) throw new Error("SCRAM: the server demands an extension that is not known here");
  if (!nonce.startsWith(ours) || nonce === ours) throw new Error("SCRAM: the server did not add to our nonce");
  if (!Number.isInteger(iterations) || iterations < ITERATIONS_MIN || iterations > ITERATIONS_MAX)
    throw new Error(`SCRAM: the server asks for ${ITERATIONS_MIN} to ${ITERATIONS_MAX} iterations, or it is refused`);
  const salt = Buffer.from(parts.get("s=") ?? "", "base64");
  if (salt.length === 0) throw new Error("SCRAM: the server sent no salt");
  return { salt, iterations, nonce };
}

/** `,` and `=` stand for themselves nowhere else (RFC 5802 section 5.1, saslname). */
function escaped(name: string): string {
  return name.replaceAll("=", "=3D").replaceAll(",", "=2C");
}

function randomNonce(): string {
  return randomBytes(18).toString("base64");
}
