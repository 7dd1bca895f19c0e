import { Element } from "ltx";
import { vmMetadataElement } from "./metadata.ts";
import type { DomainPlan } from "./port.ts";

/**
 * The libvirt domain of a plan (https://libvirt.org/formatdomain.html): UUID and name are the VM's id, so that libvirt
 * itself refuses a twin; what people call it is the title. `type` is libvirt's domain type, `test` for its test driver.
 */
export function domainXml(plan: DomainPlan, type: string): string {
  const { vm, subject } = plan;
  const domain = new Element("domain", { type });
  domain.c("name").t(vm);
  domain.c("uuid").t(vm);
  domain.c("title").t(subject.name);
  domain.c("metadata").cnode(vmMetadataElement(plan));
  domain.c("memory", { unit: "MiB" }).t(String(subject.spec.memoryMiB));
  domain.c("vcpu").t(String(subject.spec.vcpus));
  domain.c("os").c("type").t("hvm");
  return domain.toString();
}
