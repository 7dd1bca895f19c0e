import fc from "fast-check";
import { parse } from "ltx";
import { describe, expect, it } from "vitest";
import { plan, subject, uuid, vmId } from "../testing/fixture.ts";
import { domainXml } from "./domain-xml.ts";
import { usedInDomainXml } from "./libvirt-survey.ts";
import { NS_VM, planInDomainXml } from "./metadata.ts";
import type { DomainPlan } from "./port.ts";

/** Printable text with everything XML treats specially in it. */
const nasty = fc
  .string({ minLength: 1, maxLength: 63, unit: fc.constantFrom(..."<>&'\"]]>{}$\\é漢🦊 \tab-") })
  .filter((text) => text.trim() !== "");

const anyPlan: fc.Arbitrary<DomainPlan> = fc.record({
  vm: fc.nat(1_000).map(vmId),
  attempt: fc.integer({ min: 1, max: 1_000_000 }),
  subject: fc.record({
    name: nasty,
    request: fc.constantFrom("request-1", "a:b.c_d-e"),
    project: nasty,
    owner: nasty,
    lease: fc.constant(uuid(5)),
    peer: fc.constantFrom("beta.example", "gamma.test"),
    spec: fc.record({
      image: fc.constantFrom("debian-12", `sha256:${"0".repeat(64)}`),
      vcpus: fc.integer({ min: 1, max: 512 }),
      memoryMiB: fc.integer({ min: 16, max: 1_000_000 }),
      diskGiB: fc.integer({ min: 1, max: 65_536 }),
      gpus: fc.integer({ min: 0, max: 16 }),
      labels: fc.constantFrom({}, { region: "eu-south", "a/b": "c:d" }),
    }),
  }),
});

describe("the domain's XML", () => {
  it("whatever people call their VMs, it is well-formed and tells the same plan again", () => {
    fc.assert(
      fc.property(anyPlan, (one) => {
        const xml = domainXml(one, "test");
        expect(planInDomainXml(xml)).toEqual(one);
        const domain = parse(xml);
        expect(domain.getChildText("uuid")).toBe(one.vm);
        expect(domain.getChildText("name")).toBe(one.vm);
        expect(domain.getChildText("title")).toBe(one.subject.name);
        expect(domain.getChildElements().map(({ name }) => name)).toEqual([
          "name",
          "uuid",
          "title",
          "metadata",
          "memory",
          "vcpu",
          "os",
        ]);
        expect(usedInDomainXml(xml)).toMatchObject({
          vcpus: one.subject.spec.vcpus,
          memoryMiB: one.subject.spec.memoryMiB,
        });
      }),
    );
  });

  it("carries who asked, for which project, by which request, lease and peer, and the attempt", () => {
    const lent = { ...subject(), lease: uuid(5), peer: "beta.example" };
    const vm = parse(domainXml({ vm: vmId(1), attempt: 3, subject: lent }, "test"))
      .getChild("metadata")
      ?.getChild("vm", NS_VM);
    expect(vm?.attrs).toMatchObject({ vm: vmId(1), attempt: "3" });
    expect(vm?.getChild("subject")?.attrs).toMatchObject({
      name: "web-1",
      owner: "ada",
      project: "shop",
      request: "request-1",
      lease: uuid(5),
      peer: "beta.example",
    });
  });
});

describe("metadata read back", () => {
  it("H3: what is not ours, or not in full, makes no VM of ours, and never throws", () => {
    const xml = domainXml(plan(1), "test");
    for (const other of [
      "<domain/>",
      "<domain><metadata/></domain>",
      "not xml at all <",
      "",
      xml.replace(NS_VM, "urn:somebody:else"),
      xml.replace(/attempt="1"/, 'attempt="0"'),
      xml.replace(/<subject.*<\/subject>/s, ""),
    ])
      expect(planInDomainXml(other)).toBeUndefined();
    fc.assert(fc.property(fc.string(), (text) => planInDomainXml(text) === undefined));
  });
});

describe("what a domain takes", () => {
  it("is read in libvirt's units", () => {
    const taken = (memory: string) => usedInDomainXml(`<domain>${memory}<vcpu>3</vcpu></domain>`);
    expect(taken("<memory unit='KiB'>1048576</memory>")).toMatchObject({ vcpus: 3, memoryMiB: 1_024 });
    expect(taken("<memory>2048</memory>")).toMatchObject({ memoryMiB: 2 });
    expect(taken("<memory unit='GiB'>2</memory>")).toMatchObject({ memoryMiB: 2_048 });
    expect(taken("")).toMatchObject({ memoryMiB: 0 });
  });
});
