import type { Clock } from "@muster/base";
import type { SiteClient } from "@muster/client";
import type { Wait } from "./history.ts";
import type { Rig } from "./rig.ts";

const LOOK_EVERY_MS = 250;
/** How long nothing may change before everything counts as at rest. */
const CALM_MS = 2_500;
/** Phases that a VM passes through, and none that it stays in once all faults are gone. */
const PASSING: readonly string[] = ["placing", "deleting", "in-doubt"];
const OPEN_STAGES: readonly string[] = ["holding", "leasing", "held", "releasing"];

/**
 * Waits until both sites are led, hear all their hosts and have nothing under way for some seconds. Answers what still
 * is where that is not so within `withinMs`.
 */
export async function untilCalm(
  rig: Rig,
  clock: Clock,
  withinMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const clients = rig.sites.map((site) => ({
    name: site.run.plan.name,
    hosts: site.run.plan.hosts.length,
    client: rig.client(site),
  }));
  const deadlineMs = clock.nowMs() + withinMs;
  let before = "";
  let sinceMs = clock.nowMs();
  let unrest = "nothing was looked at";
  while (clock.nowMs() < deadlineMs && !signal.aborted) {
    const looks = await Promise.all(clients.map(({ name, hosts, client }) => look(name, hosts, client)));
    const nowMs = clock.nowMs();
    const picture = looks.map(({ picture: one }) => one).join("\n");
    unrest = looks.flatMap(({ unrest: one }) => one).join("; ");
    if (unrest !== "" || picture !== before) sinceMs = nowMs;
    before = picture;
    if (nowMs - sinceMs >= CALM_MS) return undefined;
    await new Promise<void>((resolve) => clock.setTimer(LOOK_EVERY_MS, resolve));
  }
  return unrest === "" ? `phases still change: ${before}` : unrest;
}

/** What the site says of every VM that waits: the queue's list tells the candidates of the first ones only. */
export async function waitsOf(rig: Rig): Promise<readonly Wait[]> {
  const waits: Wait[] = [];
  for (const site of rig.sites) {
    const client = rig.client(site);
    const queue = await client.queue();
    for (const { vm, reason, candidates } of queue.ok ? queue.value : []) {
      const why = candidates.length === 0 ? await client.why(vm) : undefined;
      const found = why?.ok === true ? why.value.candidates : candidates;
      waits.push({ site: site.run.plan.name, vm, reason, candidates: found.length });
    }
  }
  return waits;
}

type Look = { readonly picture: string; readonly unrest: readonly string[] };

async function look(name: string, hosts: number, client: SiteClient): Promise<Look> {
  const [site, vms, leases] = await Promise.all([client.site(), client.vms({ final: "false" }), client.leases()]);
  if (!site.ok) return { picture: "", unrest: [`${name}: ${site.error.message}`] };
  if (!vms.ok) return { picture: "", unrest: [`${name}: ${vms.error.message}`] };
  if (!leases.ok) return { picture: "", unrest: [`${name}: ${leases.error.message}`] };
  const unrest: string[] = [];
  const { reconciled, hosts: liveness, managers } = site.value;
  if (!reconciled) unrest.push(`${name} has not heard its hosts`);
  if (liveness.alive !== hosts) unrest.push(`${name}: hosts are ${JSON.stringify(liveness)}`);
  if (managers.length < 2) unrest.push(`${name}: ${managers.length} manager`);
  for (const { id, phase, reason } of vms.value)
    if (PASSING.includes(phase))
      unrest.push(`${name}: VM ${id} is ${phase}${reason === undefined ? "" : ` (${reason})`}`);
  for (const { id, stage, role } of leases.value)
    if (OPEN_STAGES.includes(stage)) unrest.push(`${name}: exchange ${id} (${role}) is ${stage}`);
  const picture = [
    ...vms.value.map(({ id, phase, attempt, place }) => `${id} ${phase} ${attempt} ${JSON.stringify(place)}`),
    ...leases.value.map(({ id, role, stage }) => `${id} ${role} ${stage}`),
  ].sort();
  return { picture: picture.join("\n"), unrest };
}
