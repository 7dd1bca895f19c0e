import { err, ok, type Result, readSecret } from "@muster/base";
import type { EtcdStoreConfig } from "../config.ts";
import type { EtcdStoreOptions } from "./etcd-open.ts";

/** The files that the configuration of an etcd store names, read; all that are at fault are named. */
export function readEtcdAccess(store: EtcdStoreConfig): Result<Pick<EtcdStoreOptions, "tls" | "auth">, string> {
  const faults: string[] = [];
  const read = (file: string | undefined): string | undefined => {
    if (file === undefined) return undefined;
    const text = readSecret(file);
    if (!text.ok) faults.push(text.error.message);
    return text.ok ? text.value : undefined;
  };
  const [ca, cert, key, user, password] = [
    store.caFile,
    store.certFile,
    store.keyFile,
    store.userFile,
    store.passwordFile,
  ].map(read);
  if (faults.length > 0) return err(faults.join("\n"));
  return ok({
    tls: { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) },
    auth: user === undefined || password === undefined ? undefined : { user, password },
  });
}
