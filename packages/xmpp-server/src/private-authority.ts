import { execFile } from "node:child_process";
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { chmod, chown, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, err, ok, type Result } from "@muster/base";
import { makeParents, type RunAs } from "./run-as.ts";
import { errorCode, fileFault, type ServerFault } from "./server-fault.ts";

/** A certificate authority of our own: whoever holds the key can speak as any site, so it stays on one machine. */
export type PrivateAuthority = { readonly certificatePath: string; readonly keyPath: string };

/** What a server needs for TLS: the form of `ProsodySite.tls`. */
export type SiteCertificate = {
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly caPath: string;
  /** Whether it was made now; `false` when the one on disk still served. */
  readonly issued: boolean;
};

const AUTHORITY_DAYS = 3650;
const SITE_DAYS = 825;
/** A certificate with less left than this is issued anew. */
const RENEW_BEFORE_MS = 30 * 24 * 3_600_000;

/**
 * The authority kept in `folder`, made on first use. Idempotent: a valid one is used again, for else every certificate
 * would have to follow.
 */
export async function ensureAuthority(folder: string, clock: Clock): Promise<Result<PrivateAuthority, ServerFault>> {
  const certificatePath = join(folder, "ca.crt");
  const keyPath = join(folder, "ca.key");
  const kept = await readCertificate(certificatePath, keyPath);
  if (kept?.ca && !expiresSoon(kept, clock)) return ok({ certificatePath, keyPath });
  return inStaging(folder, undefined, async (staging) => {
    const made = await openssl("make the authority", [
      ...["req", "-x509", ...NEW_KEY, "-keyout", join(staging, "ca.key"), "-out", join(staging, "ca.crt")],
      ...["-days", String(AUTHORITY_DAYS), "-subj", `/CN=Muster private CA ${randomBytes(4).toString("hex")}`],
      ...["-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    ]);
    if (!made.ok) return made;
    await publish(staging, folder, ["ca.key", "ca.crt"], undefined);
    return ok({ certificatePath, keyPath });
  });
}

/** Whose certificate, where it is kept, and who may read its key. */
export type LeafOptions = {
  readonly authority: PrivateAuthority;
  readonly folder: string;
  readonly runAs: RunAs;
};

/**
 * The certificate of a site in `folder`, for exactly `names`, good for both ends of a connection between servers.
 * Issued anew when there is none, when it runs out within 30 days, or when names, key or authority changed.
 * The key is readable by its owner only (`runAs`, or ourselves).
 */
export function ensureSiteCertificate(
  options: LeafOptions & { readonly names: readonly string[] },
  clock: Clock,
): Promise<Result<SiteCertificate, ServerFault>> {
  const { names, ...leaf } = options;
  return ensureLeaf({ ...leaf, names, file: "site", subject: "Muster site", usage: "serverAuth,clientAuth" }, clock);
}

/** What a manager needs in order to link inside TLS (`xmpp.tls` of its configuration): the same files, `manager.*`. */
export type ManagerCertificate = SiteCertificate;

/**
 * The certificate of one cluster manager in `folder`, for `name` (`cm-<name>.<domain>`) as a client only: it links as
 * this manager and as the site's face, and is no server anywhere. Kept and issued anew like a site's.
 */
export function ensureManagerCertificate(
  options: LeafOptions & { readonly name: string },
  clock: Clock,
): Promise<Result<ManagerCertificate, ServerFault>> {
  const { name, ...leaf } = options;
  return ensureLeaf({ ...leaf, names: [name], file: "manager", subject: "Muster manager", usage: "clientAuth" }, clock);
}

type Leaf = LeafOptions & {
  readonly names: readonly string[];
  /** Certificate and key are `<file>.crt` and `<file>.key`. */
  readonly file: string;
  readonly subject: string;
  /** RFC 5280 section 4.2.1.12, as openssl writes it. */
  readonly usage: string;
};

async function ensureLeaf(leaf: Leaf, clock: Clock): Promise<Result<SiteCertificate, ServerFault>> {
  const { authority, folder, names, file, subject, usage, runAs } = leaf;
  const paths = {
    certificatePath: join(folder, `${file}.crt`),
    keyPath: join(folder, `${file}.key`),
    caPath: join(folder, "ca.crt"),
  };
  const authorityPem = await readFile(authority.certificatePath);
  const kept = await readCertificate(paths.certificatePath, paths.keyPath);
  const keptAuthority = await readCertificate(paths.caPath);
  if (
    kept !== undefined &&
    serves(kept, names, new X509Certificate(authorityPem), clock) &&
    keptAuthority !== undefined
  )
    return ok({ ...paths, issued: false });
  return inStaging(folder, runAs, async (staging) => {
    const at = (ending: string): string => join(staging, `${file}.${ending}`);
    await writeFile(join(staging, "extensions"), extensions(names, usage));
    const asked = await openssl(`make the key of ${subject}`, [
      ...["req", ...NEW_KEY, "-keyout", at("key"), "-out", at("csr"), "-subj", `/CN=${subject}`],
    ]);
    if (!asked.ok) return asked;
    const signed = await openssl(`sign the certificate of ${subject}`, [
      ...["x509", "-req", "-in", at("csr"), "-out", at("crt")],
      ...["-CA", authority.certificatePath, "-CAkey", authority.keyPath],
      ...["-set_serial", `0x00${randomBytes(15).toString("hex")}`, "-days", String(SITE_DAYS)],
      ...["-extfile", join(staging, "extensions")],
    ]);
    if (!signed.ok) return signed;
    await writeFile(join(staging, "ca.crt"), authorityPem);
    await publish(staging, folder, ["ca.crt", `${file}.key`, `${file}.crt`], runAs);
    return ok({ ...paths, issued: true });
  });
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"] as const;

function extensions(names: readonly string[], usage: string): string {
  return [
    `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`,
    `extendedKeyUsage=${usage}`,
    "keyUsage=critical,digitalSignature",
    "basicConstraints=critical,CA:FALSE",
    "",
  ].join("\n");
}

function serves(kept: X509Certificate, names: readonly string[], authority: X509Certificate, clock: Clock): boolean {
  const keptNames = (kept.subjectAltName ?? "").split(", ").sort();
  const wanted = names.map((name) => `DNS:${name}`).sort();
  return keptNames.join() === wanted.join() && kept.verify(authority.publicKey) && !expiresSoon(kept, clock);
}

function expiresSoon(certificate: X509Certificate, clock: Clock): boolean {
  return Date.parse(certificate.validTo) - clock.wallMs() < RENEW_BEFORE_MS;
}

/** The certificate at a path, or `undefined` when it is missing, damaged, or does not belong to the key beside it. */
async function readCertificate(path: string, keyPath?: string): Promise<X509Certificate | undefined> {
  try {
    const certificate = new X509Certificate(await readFile(path));
    if (keyPath === undefined) return certificate;
    return certificate.checkPrivateKey(createPrivateKey(await readFile(keyPath))) ? certificate : undefined;
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code?.startsWith("ERR_OSSL") === true) return undefined;
    throw error;
  }
}

/** Runs `make` with a folder of its own that nobody else can enter, beside the result, and takes it away at the end. */
async function inStaging<Value>(
  folder: string,
  runAs: RunAs,
  make: (staging: string) => Promise<Result<Value, ServerFault>>,
): Promise<Result<Value, ServerFault>> {
  const staging = join(folder, `.new-${randomBytes(6).toString("hex")}`);
  try {
    await makeParents(folder);
    await mkdir(staging, { recursive: true, mode: 0o700 });
  } catch (error) {
    return err(fileFault(error, folder));
  }
  try {
    await chmod(folder, 0o700);
    if (runAs !== undefined) await chown(folder, runAs.uid, runAs.gid);
    return await make(staging);
  } catch (error) {
    return err(fileFault(error, folder));
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function publish(staging: string, folder: string, names: readonly string[], runAs: RunAs): Promise<void> {
  for (const name of names) {
    const path = join(staging, name);
    await chmod(path, name.endsWith(".key") ? 0o600 : 0o644);
    if (runAs !== undefined) await chown(path, runAs.uid, runAs.gid);
    await rename(path, join(folder, name));
  }
}

/** Runs openssl without a shell; its own configuration file is left out, so that machines do not differ. */
function openssl(step: string, parameters: readonly string[]): Promise<Result<void, ServerFault>> {
  const settled = { timeout: 20_000, env: { PATH: process.env.PATH, OPENSSL_CONF: "/dev/null" } };
  return new Promise((resolve) => {
    execFile("openssl", [...parameters], settled, (error, _stdout, stderr) => {
      if (error === null) resolve(ok(undefined));
      else if (errorCode(error) === "ENOENT")
        resolve(err({ kind: "binary-missing", binary: "openssl", debianPackage: "openssl" }));
      else resolve(err({ kind: "openssl-failed", step, output: stderr.trim().slice(-500) || error.message }));
    });
  });
}
