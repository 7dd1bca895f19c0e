import { describe, expect, it } from "vitest";
import { rulesOf } from "./guard.ts";

const NIC = {
  network: "lan",
  attachment: "bridge",
  mac: "52:54:00:00:00:09",
  mtu: 1_370,
  addressing: "static",
  address: "10.43.7.9/24",
} as const;

describe("what a gateway lets in from a tunnel", () => {
  it("is dropped unless it is of the one MAC and address, as IPv4 or ARP", () => {
    const rules = rulesOf({ table: "t", port: "mv0", nic: NIC });
    expect(rules).toContain('hook ingress device "mv0" priority 0; policy drop;');
    expect(rules).toContain("ether saddr != 52:54:00:00:00:09 drop");
    expect(rules.match(/accept/g)).toHaveLength(3);
    expect(rules).toContain("ip saddr 10.43.7.9 accept");
  });

  it("may ask for an address where its network hands them out, and has any where none was reserved", () => {
    expect(rulesOf({ table: "t", port: "mv0", nic: { ...NIC, addressing: "dhcp" } })).toContain("udp sport 68");
    const { address: _, ...nic } = NIC;
    expect(rulesOf({ table: "t", port: "mv0", nic })).toContain("ether type { arp, ip } accept");
  });
});
