/**
 * B5: the lender stays master. Nothing is held, leased or renewed for a peer whose peering is not in force, beyond its quota, or
 * above what an admin has to approve; a notice that was given is kept, and what was revoked ends.
 */
import type { LendRecord } from "@muster/broker";
import type { CoreEvent, PeerRecord } from "@muster/cluster-manager";
import { add, NO_RESOURCES, resourcesOf } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { allIn, peerIn } from "../core-words.ts";
import type { Lead } from "../lead.ts";
import type { Site } from "../site.ts";
import { GRACE_MS } from "../swarm.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

/** A leader that is well has this long to end what is over. */
const NOTICED_MS = 5_000;

export function lenderMaster(world: World): Checker {
  return {
    onCommit(lead, kept, batch) {
      // What a peering was like within the batch cannot be told from its end.
      const changed = new Set(kept.filter(({ key }) => key.startsWith("peer/")).map(({ key }) => key.slice(5)));
      for (const { key, before, after } of kept) {
        if (!key.startsWith("lend/") || after === undefined) continue;
        const [was, is] = [before as LendRecord | undefined, after as LendRecord];
        checkNotice(lead, was, is, batch);
        if (!world.swarm.deals || changed.has(is.peer)) continue;
        const record = peerIn(lead.site.store, is.peer);
        if (is.stage === "held" && was?.stage !== "held") checkHold(lead.site, record, is, was?.approval);
        const more = is.renewals > (was?.renewals ?? 0) && was?.stage === "leased";
        if (more) claim(record?.state === "active", "B5", () => `${is.id} is renewed: ${record?.state}`, is.id);
      }
    },
    onPulse() {
      for (const site of world.sites) {
        const lead = site.bound;
        if (lead === undefined || world.health.wellForMs(site) < NOTICED_MS + GRACE_MS) continue;
        for (const { id, stage, endsAtMs } of allIn(site.store, "lend"))
          claim(
            stage !== "leased" || endsAtMs === undefined || lead.nowMs() < endsAtMs + NOTICED_MS,
            "B5",
            () => `${id} was to end ${lead.nowMs() - (endsAtMs ?? 0)} ms ago at ${site.domain}`,
            id,
          );
      }
    },
  };
}

function checkHold(
  site: Site,
  record: PeerRecord | undefined,
  held: LendRecord,
  approval: LendRecord["approval"],
): void {
  const { id, peer, hold } = held;
  claim(record?.state === "active", "B5", () => `${site.domain} holds ${id} for ${peer}: ${record?.state}`, id);
  const { quota, approveAbove, accept, vmsMax } = record.lend;
  claim(accept, "B5", () => `${site.domain} holds ${id} for ${peer}, of which it takes nothing`, id);
  const limit = approveAbove?.vcpus ?? Number.POSITIVE_INFINITY;
  const asked = (hold?.spec.vcpus ?? 0) <= limit || approval?.state === "approved";
  claim(asked, "B5", () => `${id} has ${hold?.spec.vcpus} vCPUs, more than ${limit}, and nobody approved it`, id);
  let [taken, count] = [NO_RESOURCES, 0];
  for (const one of allIn(site.store, "lend")) {
    if (one.peer !== peer || one.hold === undefined || !OPEN.includes(one.stage)) continue;
    taken = add(taken, resourcesOf(one.hold.spec));
    count += 1;
  }
  claim(count <= Math.min(vmsMax, quota?.vms ?? vmsMax), "B5", () => `${peer} has ${count} VMs with ${id}`, id);
  const over = taken.vcpus > (quota?.vcpus ?? Infinity) || taken.memoryMiB > (quota?.memoryMiB ?? Infinity);
  claim(
    !over,
    "B5",
    () => `${peer} has ${JSON.stringify(taken)} with ${id}, and its quota is ${JSON.stringify(quota)}`,
    id,
  );
}

const OPEN: readonly LendRecord["stage"][] = ["held", "leased", "releasing"];

/** Who was given notice keeps the VM until then, whatever else the admins do. */
function checkNotice(lead: Lead, was: LendRecord | undefined, is: LendRecord, batch: readonly CoreEvent[]): void {
  if (was?.stage !== "leased" || is.stage !== "releasing") return;
  const revoked = batch.find((event) => event.kind === "lease-revoke" && event.lease === is.id);
  if (revoked?.kind === "lease-revoke" && was.endsAtMs === undefined) {
    const asked = batch.some((event) => event.kind === "peer-request" || event.kind === "tick");
    claim(
      revoked.noticeMs <= 0 || asked,
      "B5",
      () => `${is.id} is ended at once, with ${revoked.noticeMs} ms notice`,
      is.id,
    );
  }
  const { endsAtMs = 0, endReason } = was;
  if (endReason === undefined || is.reason !== endReason) return;
  const shorter = batch.some((event) => event.kind === "lease-revoke");
  claim(shorter || lead.nowMs() >= endsAtMs, "B5", () => `${is.id} ends before its notice does`, is.id);
}
