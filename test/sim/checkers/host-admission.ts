/** H4: the host has the last word: what stands on its hypervisor fits into it. *Busy* counts as no failure. */
import type { VmRecord } from "@muster/cluster-manager";
import { add, lacking, NO_RESOURCES, type Resources } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

export function hostAdmission(): Checker {
  return {
    onDomain(host, { kind, vm }) {
      if (kind !== "made") return;
      let used: Resources = NO_RESOURCES;
      for (const domain of host.machine.domains.values()) used = add(used, domain.used);
      const kindLacking = lacking(host.machine.total, used);
      claim(kindLacking === undefined, "H4", () => `${host.address} has not the ${kindLacking} for ${vm}`, vm);
    },
    onCommit(lead, kept) {
      for (const { key, before, after } of kept) {
        if (!key.startsWith("vm/") || before === undefined || after === undefined) continue;
        const was = before as VmRecord;
        if ((after as VmRecord).failures === undefined || was.place.kind !== "host") continue;
        if (((after as VmRecord).failures ?? 0) <= (was.failures ?? 0)) continue;
        const attempt = lead.site.hosts.get(was.place.host)?.attemptStored(was.id);
        const busy = attempt?.attempt === was.attempt && attempt.state === "void";
        claim(!busy, "H4", () => `${was.id} counts as failed: ${was.place.kind} was busy`, was.id);
      }
    },
  };
}
