import { createPrivateKey, X509Certificate } from "node:crypto";
import { connect as connectTls, createSecureContext } from "node:tls";
import { err, ok, type Result } from "@muster/base";
import type { Dial } from "./link-socket.ts";
import { explainTlsError } from "./tls-fault.ts";

/** TLS around a component's link (XEP-0114 has none of its own): the port of `mod_muster_component_tls`. Texts are PEM. */
export type ComponentTls = {
  /** Certificates that may sign the server's; no others are trusted on this link. */
  readonly caPem: string;
  /** Our own certificate, as the server wants to see it, and its key. */
  readonly certPem: string;
  readonly keyPem: string;
  /** The name that the server's certificate must carry: the site's domain, wherever the server stands. */
  readonly serverName: string;
};

/** Checks what can be checked without a server: that each text is what it should be, and the key is the certificate's. */
export function checkComponentTls({ caPem, certPem, keyPem }: ComponentTls): Result<void, string> {
  const certificates = { ca: caPem, cert: certPem };
  for (const [name, pem] of Object.entries(certificates))
    if (readOr(() => new X509Certificate(pem)) === undefined) return err(`${name} holds no certificate in PEM`);
  const key = readOr(() => createPrivateKey(keyPem));
  if (key === undefined) return err("key holds no private key in PEM, or one with a passphrase");
  if (!new X509Certificate(certPem).checkPrivateKey(key)) return err("key is not the key of cert");
  return ok(undefined);
}

/** Connects inside TLS, verified both ways. Throws when `checkComponentTls` would refuse. */
export function dialTls(host: string, port: number, tls: ComponentTls): Dial {
  const checked = checkComponentTls(tls);
  if (!checked.ok) throw new Error(`tls.${checked.error}`);
  const { caPem: ca, certPem: cert, keyPem: key, serverName: servername } = tls;
  const secureContext = createSecureContext({ minVersion: "TLSv1.2", ca, cert, key });
  return () => ({
    socket: connectTls({ host, port, servername, secureContext }),
    ready: "secureConnect",
    explain: explainTlsError,
  });
}

function readOr<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
