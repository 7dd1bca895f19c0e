/**
 * Starts a guest on a VLAN by Open vSwitch, as a host manager would: `vlan-guest.fixture.ts FOLDER NAMESPACE BRIDGE TAG`. Run
 * where `/run/openvswitch` is the switch of the test, at which libvirt looks for it; says what the guest's port is like, and
 * what is left of it.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Libvirt, startQemuDaemon } from "node-libvirt";
import { guestXml } from "../../hypervisor/guest-xml.ts";
import { subject, vmId } from "../../testing/fixture.ts";

const [folder = "", namespace = "", bridge = "", tag = ""] = process.argv.slice(2);
const vsctl = (...words: readonly string[]): string =>
  execFileSync("ovs-vsctl", ["--timeout=10", ...words], { encoding: "utf8" }).trim();

const nic = {
  network: "red",
  attachment: "vlan",
  mac: "52:54:00:42:00:77",
  mtu: 1_400,
  addressing: "none",
  vlan: Number(tag),
} as const;
const disk = join(folder, "disk.qcow2");
const seed = join(folder, "seed.iso");
execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", disk, "1M"]);
writeFileSync(seed, Buffer.alloc(2_048));
const wish = subject();
const plan = { vm: vmId(1), attempt: 1, subject: { ...wish, spec: { ...wish.spec, memoryMiB: 64 } } };
const wiring = { kind: "open-vswitch", bridge, vlan: Number(tag) } as const;
const xml = guestXml(plan, {
  virtType: "qemu",
  disk,
  seed,
  serialLog: join(folder, "serial.log"),
  nvram: join(folder, "nvram.fd"),
  nics: [{ nic, wiring }],
  gpus: [],
  uefi: { code: "", variables: "" },
  tbCacheMiB: 32,
});
const daemon = await startQemuDaemon({
  stateDir: join(folder, "v"),
  mode: "system",
  host: { namespace, name: "vlan-host" },
});
try {
  const libvirt = await Libvirt.open({ socketPath: daemon.socketPath, uri: "qemu:///system" });
  try {
    const domain = await libvirt.domains.define(xml);
    await libvirt.domains.start(domain);
    const [port = ""] = vsctl("list-ports", bridge).split("\n");
    const said = { tag: vsctl("get", "Port", port, "tag"), mtu: vsctl("get", "Interface", port, "mtu") };
    await libvirt.domains.destroy(domain);
    await libvirt.domains.undefine(domain);
    process.stdout.write(JSON.stringify({ ...said, left: vsctl("list-ports", bridge) }));
  } finally {
    await libvirt.close();
  }
} finally {
  await daemon.stop();
}
