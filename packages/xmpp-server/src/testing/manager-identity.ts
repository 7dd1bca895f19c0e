import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "@muster/base";
import { ensureManagerCertificate, type PrivateAuthority } from "../index.ts";
import { must } from "./test-sites.ts";

const run = promisify(execFile);

/** What a manager shows to the server. For tests. */
export type ManagerIdentity = { readonly cert: Buffer; readonly key: Buffer };

/** A manager's certificate as the product issues it. */
export async function managerIdentity(
  authority: PrivateAuthority,
  folder: string,
  name: string,
): Promise<ManagerIdentity> {
  const paths = must(await ensureManagerCertificate({ authority, folder, name, runAs: undefined }, systemClock));
  return readIdentity(paths.certificatePath, paths.keyPath);
}

/** One that ran out yesterday: the product never issues such, so openssl is asked itself. */
export async function expiredIdentity(
  authority: PrivateAuthority,
  folder: string,
  name: string,
): Promise<ManagerIdentity> {
  const [key, request, certificate, extensions] = ["key", "csr", "crt", "ext"].map((end) => join(folder, `old.${end}`));
  if (!key || !request || !certificate || !extensions) throw new Error("four paths");
  await mkdir(folder, { recursive: true });
  await writeFile(extensions, `subjectAltName=DNS:${name}\nextendedKeyUsage=clientAuth,serverAuth\n`);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", key];
  await run("openssl", ["req", ...newKey, "-out", request, "-subj", "/CN=old"]);
  const signer = ["-CA", authority.certificatePath, "-CAkey", authority.keyPath, "-set_serial", "7"];
  await run("openssl", [
    ...["x509", "-req", "-in", request, "-out", certificate, ...signer],
    ...["-days", "-1", "-extfile", extensions],
  ]);
  return readIdentity(certificate, key);
}

/** Certificate and key from their files. */
export async function readIdentity(certificatePath: string, keyPath: string): Promise<ManagerIdentity> {
  const [cert, key] = await Promise.all([readFile(certificatePath), readFile(keyPath)]);
  return { cert, key };
}
