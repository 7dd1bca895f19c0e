import type { TunnelEnd } from "@muster/protocol";
import type { TunnelWish } from "./borrow/borrower-contract.ts";

export const GATEWAY_END: TunnelEnd = {
  publicKey: "mBKTBSFMfUzKEH4Jvu6kMBXtWcEKdTIGRcQfYNkPNks=",
  endpoint: { address: "203.0.113.5", port: 51_820 },
};
export const OTHER_GATEWAY: TunnelEnd = {
  publicKey: "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=",
  endpoint: { address: "203.0.113.6", port: 51_820 },
};
export const AWAY_END: TunnelEnd = { publicKey: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=" };

export const WISH: TunnelWish = {
  reach: "reachable",
  vni: 4_711,
  mtu: 1_370,
  nic: { mac: "52:54:00:12:34:56", addressing: "static", address: "10.77.0.5/24", gateway: "10.77.0.1" },
};
