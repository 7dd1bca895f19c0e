import type { FederationWish } from "./federation-plan.ts";

/** One member of the federation's etcd. */
export type EtcdMemberPlan = { readonly name: string; readonly address: string };

export const ETCD_CLIENT_PORT = 2379;
export const ETCD_PEER_PORT = 2380;
const MEMBERS = 3;

/**
 * The members of the one etcd that all sites of a federation on one machine share, each site below a prefix of its own. In
 * earnest each site has its own: nothing is to be shared between owners. They listen beside the first site: `127.0.<n>.2`
 * and the following.
 */
export function etcdMembers({ store, loopback }: FederationWish): readonly EtcdMemberPlan[] {
  if (store !== "etcd") return [];
  return Array.from({ length: MEMBERS }, (_, index) => ({
    name: `m${index + 1}`,
    address: `127.0.${loopback}.${index + 2}`,
  }));
}

/** Where managers reach the members. */
export function etcdEndpoints(members: readonly EtcdMemberPlan[]): string[] {
  return members.map(({ address }) => `https://${address}:${ETCD_CLIENT_PORT}`);
}

/** Files of a member: its own certificate and key, good for both ends of a connection, and the authority's certificate. */
export type EtcdMemberFiles = {
  readonly data: string;
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
};

/**
 * The command line of one member: TLS both ways with clients and between members; elections as for a LAN (a beat every 50 ms,
 * an election after 500 ms), where etcd's own defaults would take over a second longer; history and space bounded.
 */
export function etcdArguments(
  member: EtcdMemberPlan,
  members: readonly EtcdMemberPlan[],
  { data, caFile, certFile, keyFile }: EtcdMemberFiles,
): string[] {
  const clientUrl = `https://${member.address}:${ETCD_CLIENT_PORT}`;
  const peerUrl = (of: EtcdMemberPlan): string => `https://${of.address}:${ETCD_PEER_PORT}`;
  return [
    `--name=${member.name}`,
    `--data-dir=${data}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl(member)}`,
    `--initial-advertise-peer-urls=${peerUrl(member)}`,
    `--initial-cluster=${members.map((of) => `${of.name}=${peerUrl(of)}`).join(",")}`,
    "--initial-cluster-token=muster",
    `--trusted-ca-file=${caFile}`,
    `--cert-file=${certFile}`,
    `--key-file=${keyFile}`,
    "--client-cert-auth",
    `--peer-trusted-ca-file=${caFile}`,
    `--peer-cert-file=${certFile}`,
    `--peer-key-file=${keyFile}`,
    "--peer-client-cert-auth",
    "--heartbeat-interval=50",
    "--election-timeout=500",
    "--pre-vote",
    "--auto-compaction-mode=revision",
    "--auto-compaction-retention=10000",
    "--snapshot-count=10000",
    "--quota-backend-bytes=1073741824",
    "--logger=zap",
    "--log-level=warn",
  ];
}
