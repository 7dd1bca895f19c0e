import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PROSODY_PORTS, ProsodyServer } from "@muster/xmpp-server";
import type { FederationRun } from "../system/federation-run.ts";
import { XmppClient } from "./xmpp-client.ts";

/** Logs in at a site of a running federation; without `password` as an account whose secret lies in the state folder. */
export function logInAt(run: FederationRun, site: string, name: string, password?: string): Promise<XmppClient> {
  const { xmppAddress, domain, caFile } = run.site(site);
  const secret = password ?? readFileSync(join(run.state, site, "secrets", `${name}-password`), "utf8").trim();
  return XmppClient.logIn({ address: xmppAddress, domain, name, password: secret, ca: readFileSync(caFile, "utf8") });
}

/** Makes an ordinary account at a site, as its administrator would: one without any permission. */
export async function makeAccount(run: FederationRun, site: string, name: string, password: string): Promise<void> {
  const { xmppAddress, domain, caFile } = run.site(site);
  const server = new ProsodyServer({
    site: {
      domain,
      address: xmppAddress,
      folder: join(run.state, site, "xmpp"),
      ports: PROSODY_PORTS,
      cloudSecret: "",
      managers: [],
      peers: [],
      tls: { keyPath: "", certificatePath: "", caPath: caFile },
    },
  });
  const made = await server.ensureAccount({ name, password });
  if (!made.ok) throw new Error(JSON.stringify(made.error));
}
