import { execFile } from "node:child_process";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { err, ok, type Result, type Rng } from "@muster/base";
import type { PrivateAuthority } from "@muster/xmpp-server";
import { type EtcdMemberFiles, type EtcdMemberPlan, etcdEndpoints } from "../plan/etcd-plan.ts";
import type { EtcdAccess } from "../plan/manager-config.ts";

/** What etcd and those who use it are started from. */
export type EtcdFiles = {
  readonly members: ReadonlyMap<string, EtcdMemberFiles>;
  readonly access: EtcdAccess;
};

/** They serve one run: each start makes them anew. */
const CERTIFICATE_DAYS = 825;
const OPENSSL_MS = 20_000;
const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"] as const;

/**
 * Writes certificates for the members and one for the managers, signed by the federation's authority. No subject has a CN:
 * etcd would take it for the name of a user.
 */
export async function writeEtcdFiles(
  members: readonly EtcdMemberPlan[],
  folder: string,
  authority: PrivateAuthority,
  rng: Rng,
): Promise<Result<EtcdFiles, string>> {
  const tls = join(folder, "tls");
  mkdirSync(tls, { recursive: true, mode: 0o700 });
  const make = (name: string, extensions: readonly string[]) =>
    certify({ name, extensions, folder: tls, authority, rng });
  const files = new Map<string, EtcdMemberFiles>();
  for (const { name, address } of members) {
    // Members hold a caller's certificate against the address that it calls from: on loopback that is 127.0.0.1 for all.
    const names = `subjectAltName=IP:${address},IP:127.0.0.1`;
    const made = await make(name, [names, "extendedKeyUsage=serverAuth,clientAuth"]);
    if (!made.ok) return made;
    files.set(name, { data: join(folder, name), caFile: authority.certificatePath, ...made.value });
  }
  const manager = await make("manager", ["extendedKeyUsage=clientAuth"]);
  if (!manager.ok) return manager;
  const access = { endpoints: etcdEndpoints(members), caFile: authority.certificatePath, ...manager.value };
  return ok({ members: files, access });
}

type Wanted = {
  readonly name: string;
  readonly extensions: readonly string[];
  readonly folder: string;
  readonly authority: PrivateAuthority;
  readonly rng: Rng;
};

async function certify(
  wanted: Wanted,
): Promise<Result<{ readonly certFile: string; readonly keyFile: string }, string>> {
  const { name, extensions, folder, authority, rng } = wanted;
  const at = (ending: string): string => join(folder, `${name}.${ending}`);
  const all = [...extensions, "keyUsage=critical,digitalSignature", "basicConstraints=critical,CA:FALSE", ""];
  writeFileSync(at("extensions"), all.join("\n"), { mode: 0o600 });
  const serial = Buffer.from(rng.bytes(15)).toString("hex");
  const steps = [
    ["req", ...NEW_KEY, "-keyout", at("key.new"), "-out", at("csr"), "-subj", `/O=Muster etcd ${name}`],
    [
      ...["x509", "-req", "-in", at("csr"), "-out", at("crt.new"), "-extfile", at("extensions")],
      ...["-CA", authority.certificatePath, "-CAkey", authority.keyPath],
      ...["-set_serial", `0x00${serial}`, "-days", String(CERTIFICATE_DAYS)],
    ],
  ];
  for (const step of steps) {
    const done = await openssl(step);
    if (!done.ok) return err(`the certificate of etcd's ${name} cannot be made: ${done.error}`);
  }
  for (const ending of ["key", "crt"]) renameSync(at(`${ending}.new`), at(ending));
  for (const ending of ["csr", "extensions"]) rmSync(at(ending));
  return ok({ certFile: at("crt"), keyFile: at("key") });
}

/** Runs openssl without a shell and without the machine's own configuration of it. */
function openssl(parameters: readonly string[]): Promise<Result<void, string>> {
  const settled = { timeout: OPENSSL_MS, env: { PATH: process.env.PATH, OPENSSL_CONF: "/dev/null" } };
  return new Promise((resolve) => {
    execFile("openssl", [...parameters], settled, (error, _stdout, stderr) =>
      resolve(error === null ? ok(undefined) : err(stderr.trim().slice(-500) || error.message)),
    );
  });
}
