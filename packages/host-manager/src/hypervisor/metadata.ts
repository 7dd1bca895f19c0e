/**
 * `<vm/>`, what a domain of ours carries in libvirt's metadata: enough to rebuild the host's list from libvirt alone.
 * Namespace urn:muster:vm:1, version 1.
 */
import {
  attemptSchema,
  commandSubjectSchema,
  defineMessage,
  integer,
  nested,
  subjectFields,
  text,
  vmIdSchema,
} from "@muster/protocol";
import { type Element, parse } from "ltx";
import { z } from "zod";
import type { DomainPlan } from "./port.ts";

export const NS_VM = "urn:muster:vm:1";

const domainPlanSchema = z.object({ vm: vmIdSchema, attempt: attemptSchema, subject: commandSubjectSchema });

const vmMetadata = defineMessage({
  name: "vm",
  namespace: NS_VM,
  schema: domainPlanSchema,
  fields: {
    vm: text,
    attempt: integer,
    subject: nested(subjectFields),
  },
});

/**
 * Without what only the seed and the download need (S3): user-data may hold secrets, a URL a ticket, and the metadata can be
 * read by everybody who may look at the host's domains.
 */
export function vmMetadataElement({ vm, attempt, subject }: DomainPlan): Element {
  const { userData: _, sshKeys: __, ...spec } = subject.spec;
  const { guest } = subject;
  const shown = guest === undefined ? {} : { guest: { ...guest, image: { ...guest.image, urls: [] } } };
  return vmMetadata.encode({ vm, attempt, subject: { ...subject, spec, ...shown } });
}

/** What a domain's XML says of itself as ours; `undefined` where it is not ours, or no longer says it in full. */
export function planInDomainXml(xml: string): DomainPlan | undefined {
  try {
    const element = parse(xml).getChild("metadata")?.getChild("vm", NS_VM);
    const decoded = element === undefined ? undefined : vmMetadata.decode(element);
    return decoded?.ok === true ? decoded.value : undefined;
  } catch {
    // libvirt gives well-formed XML; whatever else this is, it is no VM of ours.
    return undefined;
  }
}
