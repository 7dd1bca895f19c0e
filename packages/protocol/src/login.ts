/** What lets a user into a guest: public keys and user-data, as the NoCloud seed carries them. */
import { z } from "zod";

/** Longest user-data, in bytes of UTF-8: it travels in a stanza with the rest of the order (S2). */
export const USER_DATA_BYTES_MAX = 16_384;

const KEY_KINDS = [
  "ssh-ed25519",
  "ssh-rsa",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "sk-ssh-ed25519@openssh.com",
  "sk-ecdsa-sha2-nistp256@openssh.com",
];
const KEY_LINE = /^(?<kind>[a-z0-9@.-]{7,40}) (?<blob>[A-Za-z0-9+/]{40,4000}={0,2})(?: [\x20-\x7e]{0,200})?$/;

/** Everything that XML 1.0 section 2.2 lets through unchanged; a carriage return would come out as a line feed. */
const PLAIN_TEXT = /^[\n\t\P{Cc}]*$/u;
const NONCHARACTERS = /[\ufffe\uffff]/;

/** One line of `authorized_keys` without options (sshd(8)): kind, base64 blob that names the same kind (RFC 4253 6.6), comment. */
export const sshKeySchema = z
  .string()
  .max(4_300)
  .refine(isPublicKey, "must be one public key as in id_ed25519.pub: kind, base64, comment");

/** Text for cloud-init, as it can stand in a stanza. */
export const userDataSchema = z
  .string()
  .min(1)
  .refine(
    (text) => Buffer.byteLength(text, "utf8") <= USER_DATA_BYTES_MAX,
    `must be at most ${USER_DATA_BYTES_MAX} bytes; fetch the rest from inside the guest`,
  )
  .refine(
    (text) => PLAIN_TEXT.test(text) && !NONCHARACTERS.test(text),
    "must be text with line feeds, without control characters",
  )
  .refine((text) => text.isWellFormed(), "must be well-formed Unicode");

function isPublicKey(line: string): boolean {
  const { kind, blob } = KEY_LINE.exec(line)?.groups ?? {};
  if (kind === undefined || blob === undefined || !KEY_KINDS.includes(kind)) return false;
  const bytes = Buffer.from(blob, "base64");
  const length = bytes.length < 4 ? 0 : bytes.readUInt32BE(0);
  return length === kind.length && bytes.subarray(4, 4 + length).toString("latin1") === kind;
}
