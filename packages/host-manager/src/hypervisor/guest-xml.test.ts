import { parse } from "ltx";
import { describe, expect, it } from "vitest";
import { subject, vmId } from "../testing/fixture.ts";
import { claimsInDomainXml, cpusOf, freeCpus, freeGpus } from "./claims.ts";
import { addressInDomainXml } from "./guest-address.ts";
import { type GuestParts, guestXml } from "./guest-xml.ts";
import { planInDomainXml } from "./metadata.ts";
import type { DomainPlan } from "./port.ts";

const NIC = {
  network: "lan",
  attachment: "vxlan",
  mac: "52:54:00:00:00:01",
  mtu: 1_370,
  addressing: "static",
} as const;
const PARTS: GuestParts = {
  virtType: "qemu",
  disk: "/s/disk.qcow2",
  seed: "/s/seed.iso",
  serialLog: "/s/serial.log",
  nvram: "/s/nvram.fd",
  nics: [],
  gpus: [],
  uefi: { code: "/u/code.fd", variables: "/u/vars.fd" },
  tbCacheMiB: 64,
};
const IMAGE = {
  digest: `sha256:${"a".repeat(64)}`,
  format: "qcow2",
  bytes: 1,
  virtualMiB: 1,
  urls: ["http://127.51.0.1/a?ticket=s3cret"],
} as const;

function plan(spec: Partial<DomainPlan["subject"]["spec"]> = {}, nics: readonly object[] = []): DomainPlan {
  const base = subject();
  const guest = { image: { ...IMAGE, urls: [...IMAGE.urls] }, nics: nics as never };
  return { vm: vmId(1), attempt: 1, subject: { ...base, spec: { ...base.spec, ...spec }, guest } };
}
function domain(spec: Parameters<typeof plan>[0] = {}, parts: Partial<GuestParts> = {}) {
  return parse(guestXml(plan(spec), { ...PARTS, ...parts }));
}
const devices = (xml: ReturnType<typeof domain>, name: string) => xml.getChild("devices")?.getChildren(name) ?? [];

describe("the XML of a real guest", () => {
  it("has what every guest gets: disk, seed, serial log, agent channel, random numbers, balloon", () => {
    const xml = domain();
    const [disk, seed] = devices(xml, "disk");
    expect(disk?.getChild("source")?.attrs).toEqual({ file: "/s/disk.qcow2" });
    expect(disk?.getChild("target")?.attrs).toEqual({ dev: "vda", bus: "virtio" });
    expect(seed?.attrs.device).toBe("cdrom");
    expect(seed?.getChild("readonly")).toBeDefined();
    expect(devices(xml, "serial")[0]?.getChild("log")?.attrs).toEqual({ file: "/s/serial.log", append: "on" });
    expect(devices(xml, "channel")[0]?.getChild("target")?.attrs.name).toBe("org.qemu.guest_agent.0");
    expect(devices(xml, "rng")[0]?.getChildText("backend")).toBe("/dev/urandom");
    expect(devices(xml, "memballoon")[0]?.attrs.model).toBe("virtio");
    expect(xml.getChild("memory")?.getText()).toBe("512");
    expect(xml.getChild("features")?.getChild("tcg")?.getChildText("tb-cache")).toBe("64");
    expect(xml.getChild("os")?.getChild("type")?.attrs.machine).toBe("pc");
  });

  it("with KVM there is no cache of translated code, and the host's CPU is passed on", () => {
    const xml = domain({ cpuModel: "host" }, { virtType: "kvm" });
    expect(xml.attrs.type).toBe("kvm");
    expect(xml.getChild("features")?.getChild("tcg")).toBeUndefined();
    expect(xml.getChild("cpu")?.attrs.mode).toBe("host-passthrough");
    expect(domain({ cpuModel: "host" }).getChild("cpu")?.attrs.mode).toBe("maximum");
    expect(domain().getChild("cpu")).toBeUndefined();
  });

  it("UEFI: firmware, variables of its own, a board with PCI Express and room for volumes", () => {
    const xml = domain({ firmware: "uefi" });
    const os = xml.getChild("os");
    expect(os?.getChild("type")?.attrs.machine).toBe("q35");
    expect(os?.getChildText("loader")).toBe("/u/code.fd");
    expect(os?.getChild("nvram")?.attrs.template).toBe("/u/vars.fd");
    expect(os?.getChildText("nvram")).toBe("/s/nvram.fd");
    const ports = devices(xml, "controller").map(({ attrs }) => `${attrs.index} ${attrs.model}`);
    expect(ports[0]).toBe("0 pcie-root");
    expect(ports.length).toBeGreaterThan(6);
  });

  it("shares, CPUs of its own, and the CPUs that are left to the rest", () => {
    const xml = domain({ vcpus: 2, cpuShares: 512 }, { pinned: [3, 5] });
    expect(xml.getChild("cputune")?.getChildText("shares")).toBe("512");
    expect(claimsInDomainXml(xml.toString()).cpus).toEqual([3, 5]);
    expect(domain({}, { cpuset: "0,1" }).getChild("vcpu")?.attrs.cpuset).toBe("0,1");
  });

  it("GPUs are passed through by their PCI address, and are told again as taken", () => {
    const xml = domain({ gpus: 2 }, { gpus: ["0000:01:00.0", "000a:c1:1f.7"] });
    const addresses = devices(xml, "hostdev").map((device) => device.getChild("source")?.getChild("address")?.attrs);
    expect(addresses).toEqual([
      { domain: "0x0000", bus: "0x01", slot: "0x00", function: "0x0" },
      { domain: "0x000a", bus: "0xc1", slot: "0x1f", function: "0x7" },
    ]);
    expect(devices(xml, "hostdev")[0]?.attrs).toMatchObject({ managed: "yes", type: "pci" });
    expect(claimsInDomainXml(xml.toString()).gpus).toEqual(["0000:01:00.0", "000a:c1:1f.7"]);
  });

  it("interfaces on a bridge and on a network, with MAC and MTU", () => {
    const xml = domain(
      {},
      {
        nics: [
          { nic: NIC, wiring: { kind: "bridge", bridge: "br-7" } },
          { nic: { ...NIC, mac: "52:54:00:00:00:02" }, wiring: { kind: "network", network: "default" } },
        ],
      },
    );
    const [bridged, natted] = devices(xml, "interface");
    expect(bridged?.attrs.type).toBe("bridge");
    expect(bridged?.getChild("source")?.attrs).toEqual({ bridge: "br-7" });
    expect(bridged?.getChild("mtu")?.attrs).toEqual({ size: "1370" });
    expect(bridged?.getChild("mac")?.attrs).toEqual({ address: NIC.mac });
    expect(natted?.getChild("source")?.attrs).toEqual({ network: "default" });
    expect(xml.getChild("qemu:commandline")).toBeUndefined();
  });

  it("user networking is told to QEMU itself, and the address is the forwarded port", () => {
    const user = { ...NIC, attachment: "user" } as const;
    const wired = [{ nic: user, wiring: { kind: "user", forward: { address: "127.51.0.1", port: 2_222 } } }] as const;
    const own = plan({}, [user]);
    const xml = guestXml(own, { ...PARTS, nics: wired });
    expect(devices(parse(xml), "interface")).toEqual([]);
    expect(xml).toContain("user,id=user0,hostfwd=tcp:127.51.0.1:2222-:22");
    expect(xml).toContain(`mac=${NIC.mac},host_mtu=1370`);
    expect(addressInDomainXml(xml, own)).toBe("127.51.0.1:2222");
  });

  it("otherwise the address is the reserved one, and none where none is known before the guest asks", () => {
    expect(addressInDomainXml("<domain/>", plan({}, [{ ...NIC, address: "10.77.0.5/24" }]))).toBe("10.77.0.5");
    expect(addressInDomainXml("<domain/>", plan({}, [NIC]))).toBeUndefined();
    expect(addressInDomainXml("<domain/>", plan())).toBeUndefined();
  });

  it("S3: its metadata tell the plan again without user-data, keys and sources", () => {
    const secret = plan({ userData: "s3cret", sshKeys: [`ssh-ed25519 ${"A".repeat(68)}`] }, [NIC]);
    const xml = guestXml(secret, PARTS);
    expect(xml).not.toMatch(/s3cret|ssh-ed25519|ticket/);
    const { userData: _, sshKeys: __, ...spec } = secret.subject.spec;
    const guest = { image: { ...IMAGE, urls: [] }, nics: [NIC] };
    expect(planInDomainXml(xml)).toEqual({ ...secret, subject: { ...secret.subject, spec, guest } });
  });
});

describe("what is given to one VM alone", () => {
  it("the lowest free CPUs, or a sentence that says how many there are", () => {
    expect(freeCpus(2, [1, 2, 3, 4], new Set([2]))).toEqual([1, 3]);
    expect(freeCpus(2, [1, 2], new Set([2]))).toMatch(/1 of the 2 that may be given away are free/);
    expect(freeGpus(1, ["a", "b"], new Set(["a"]))).toEqual(["b"]);
    expect(freeGpus(1, ["a"], new Set(["a"]))).toBe("1 GPUs were asked for and 0 of 1 are free");
  });

  it("libvirt's notation of CPUs is read, and nothing else", () => {
    expect(cpusOf("0-3,^2,7")).toEqual([0, 1, 3, 7]);
    for (const wrong of ["", "a", "1-", "-1", "^1-2", "1;2"]) expect(cpusOf(wrong), wrong).toBeUndefined();
  });
});
