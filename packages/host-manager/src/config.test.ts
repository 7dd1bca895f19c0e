import { decode, describeFaults } from "@muster/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostConfigSchema, policyOf } from "./config.ts";

const LEAST = {
  site: "alpha.test",
  name: "h1",
  state: "/var/lib/muster",
  xmpp: { service: "xmpps://127.0.11.1:5223", passwordFile: "/etc/muster/password" },
  hypervisor: { kind: "libvirt" },
};

function faultsOf(more: object): string {
  const decoded = decode(hostConfigSchema, { ...LEAST, ...more });
  return decoded.ok ? "" : describeFaults(decoded.error);
}

describe("host.yaml", () => {
  it("needs little, and fills in the rest", () => {
    const config = hostConfigSchema.parse(LEAST);
    expect(config).toMatchObject({
      heartbeatMs: 5_000,
      reportMs: 200,
      hypervisor: { uri: "qemu:///system", socket: "/run/libvirt/libvirt-sock" },
      limits: { attempts: 10_000 },
    });
    expect(policyOf(config)).toMatchObject({ reserved: { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 }, total: {} });
  });

  it("says what real guests get on this host, with defaults that need no thought", () => {
    const gpus = [{ address: "0000:01:00.0", labels: { gpu: "a100" } }];
    const config = hostConfigSchema.parse({ ...LEAST, hypervisor: { kind: "libvirt", gpus, dedicatedCpus: "2-4,^3" } });
    expect(config).toMatchObject({
      hypervisor: { virtType: "auto", stopMs: 60_000, probeMs: 10_000, gpus, dedicatedCpus: [2, 4], tbCacheMiB: 64 },
      imageCache: { cacheGiB: 50 },
      networks: { bridges: {} },
    });
  });

  it.each<[object, RegExp]>([
    [{ nam: "h2" }, /nam: unknown key; did you mean "name"\?/],
    [{ total: { vcpu: 8 } }, /total\.vcpu: unknown key; did you mean "vcpus"\?/],
    [{ reserved: { memoryMiB: -1 } }, /reserved\.memoryMiB/],
    [{ total: { vcpus: 1.5 } }, /total\.vcpus/],
    [{ name: "Host One" }, /name: must be 1 to 63 lower-case/],
    [{ site: "not a domain" }, /site: must be a lower-case domain name/],
    [{ heartbeatMs: 10 }, /heartbeatMs/],
    [{ hypervisor: { kind: "vmware" } }, /hypervisor\.kind/],
    [{ hypervisor: { kind: "simulated", uri: "x" } }, /hypervisor\.uri: unknown key/],
    [{ images: ["Debian 12"] }, /images\[0\]: must be an image tag/],
    [{ limits: { jobs: 0 } }, /limits\.jobs/],
    [{ hypervisor: { kind: "libvirt", virtType: "xen" } }, /hypervisor\.virtType/],
    [{ hypervisor: { kind: "libvirt", domainType: "kvm" } }, /hypervisor\.domainType: unknown key/],
    [{ hypervisor: { kind: "libvirt", gpus: [{ address: "01:00.0" }] } }, /gpus\[0\]\.address: must be a PCI address/],
    [{ hypervisor: { kind: "libvirt", dedicatedCpus: "all" } }, /dedicatedCpus: must be a list of CPUs like 2-7/],
    [{ imageCache: { cacheGiB: 0 } }, /imageCache\.cacheGiB/],
    [{ networks: { bridges: { lan: "a name of more than fifteen" } } }, /networks\.bridges\.lan/],
    [{ xmpp: { ...LEAST.xmpp, service: "xmpp://127.0.0.1:5222" } }, /xmpp\.service: must be xmpps/],
  ])("refuses %j and names the field", (more, message) => {
    expect(faultsOf(more)).toMatch(message);
  });

  it("S1: no input makes it throw", () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (whole, part) => {
        decode(hostConfigSchema, whole);
        decode(hostConfigSchema, { ...LEAST, hypervisor: part, limits: part, xmpp: part });
      }),
    );
  });
});
