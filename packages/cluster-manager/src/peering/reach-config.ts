/** How a peer is reached, as a manager's configuration says it. */
import { accountAddressSchema, xmppServiceSchema } from "@muster/protocol";
import { z } from "zod";
import type { Reach } from "./reach.ts";

const path = z.string().min(1).max(4_096);

/** Absent: from server to server. */
export const reachConfigSchema = z.discriminatedUnion("kind", [
  /** We log in at the peer's server, or a third one: our own need not be reachable. */
  z.strictObject({
    kind: z.literal("client"),
    jid: accountAddressSchema,
    /** Where to log in: `xmpps://<host>:<port>`. */
    server: xmppServiceSchema,
    passwordFile: path,
    /** Certificates (PEM) that sign the server's; those of the system if not given. */
    caFile: path.optional(),
  }),
  /** The peer logs in as this account, at our server or a third one. */
  z.strictObject({ kind: z.literal("account"), jid: accountAddressSchema }),
]);
export type ReachConfig = z.output<typeof reachConfigSchema>;

/** With its files where `at` says. */
export function anchorReach(reach: ReachConfig | undefined, at: (name: string) => string): ReachConfig | undefined {
  if (reach?.kind !== "client") return reach;
  const { caFile, passwordFile } = reach;
  return { ...reach, passwordFile: at(passwordFile), ...(caFile === undefined ? {} : { caFile: at(caFile) }) };
}

/** Whether each account stands for one peer. */
export function accountsDiffer(peers: readonly { readonly reach?: ReachConfig | undefined }[]): boolean {
  const jids = peers.flatMap(({ reach }) => (reach === undefined ? [] : [reach.jid]));
  return new Set(jids).size === jids.length;
}

/** As the core knows it. */
export function reachOf(reach: ReachConfig | undefined): Reach | undefined {
  if (reach?.kind !== "client") return reach;
  const { server: service, ...login } = reach;
  return { ...login, service };
}
