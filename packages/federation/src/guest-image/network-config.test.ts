import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runProgram } from "../process/run-program.ts";
import { GUEST_ROOT } from "./inputs.ts";

const BUSYBOX = "/bin/busybox";

/** What the guest's own awk makes of a network-config. */
async function read(text: string): Promise<readonly string[]> {
  const ran = await runProgram(BUSYBOX, ["awk", "-f", join(GUEST_ROOT, "etc/init/network.awk")], { input: text });
  if (!ran.ok) throw new Error(ran.error);
  return ran.value.trim().split("\n");
}

describe.runIf(existsSync(BUSYBOX))("the guest's reader of network-config version 2", () => {
  it("reads a static address with MTU, route and name servers from YAML", async () => {
    const text = `
version: 2
ethernets:
  nic0:
    match:
      macaddress: "52:54:00:AA:00:01"
    set-name: eth0
    mtu: 1450
    addresses: [10.77.0.5/24]   # reserved before boot
    routes:
      - to: default
        via: 10.77.0.1
      - to: 10.99.0.0/16
        via: 10.77.0.2
    nameservers:
      addresses:
        - 192.0.2.1
        - 192.0.2.2
`;
    expect(await read(text)).toEqual(["nic0 52:54:00:aa:00:01 1450 false 10.77.0.5/24 10.77.0.1 192.0.2.1,192.0.2.2"]);
  });

  it("reads the same from JSON on one line, and several interfaces", async () => {
    const config = {
      network: {
        version: 2,
        ethernets: {
          eth0: {
            match: { macaddress: "52:54:00:aa:00:01" },
            nameservers: { addresses: ["192.0.2.1"] },
            addresses: ["10.7.0.9/24", "fd00::9/64"],
            gateway4: "10.7.0.1",
          },
          eth1: { match: { macaddress: "52:54:00:aa:00:02" }, dhcp4: true, mtu: 1450 },
        },
      },
    };
    expect(await read(JSON.stringify(config))).toEqual([
      "eth0 52:54:00:aa:00:01 - false 10.7.0.9/24,fd00::9/64 10.7.0.1 192.0.2.1",
      "eth1 52:54:00:aa:00:02 1450 true - - -",
    ]);
  });
});
