/**
 * H2 for operations: one key is one operation, one operation has one effect, on the host where its VM lies, and what the site
 * then says of size, snapshots and volumes is what lies there. P3: every operation ends.
 */
import type { VmRecord } from "@muster/cluster-manager";
import { isFinal, resourcesOf } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { allIn } from "../core-words.ts";
import type { HostNode } from "../host-node.ts";
import type { Site } from "../site.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

export function oneOperation(world: World): Checker {
  /** Where each was carried out, and those of which the host has stored how they ended. */
  const doneAt = new Map<string, string>();
  const ended = new Set<string>();
  const ids = new Map<string, string>();
  /** VMs whose host was declared dead, by attempt: what lay with them is forgotten, also where that host brings them back. */
  const givenUp = new Map<string, number>();
  return {
    onHostTurn({ host, after, changes }) {
      for (const change of changes) {
        const operation = change.kind === "attempt" ? after.attempts.get(change.vm)?.operation : undefined;
        if (operation !== undefined) ended.add(`${host.address} ${operation.id}`);
      }
    },
    onJournalLost() {
      ended.clear();
    },
    onDomain(host, { cause, command, vm }) {
      if (cause !== "operate") return;
      const twice = ended.has(`${host.address} ${command}`);
      claim(!twice, "H2", () => `${host.address} carries ${command} on ${vm} out again after its end`, vm);
      const other = doneAt.get(command);
      claim(other === undefined || other === host.address, "H2", () => `${command} was done on ${other} too`, vm);
      doneAt.set(command, host.address);
    },
    onCommit({ site }, kept) {
      for (const { key, before, after } of kept) {
        if (!key.startsWith("vm/") || after === undefined) continue;
        const [had, has] = [before as VmRecord | undefined, after as VmRecord];
        if (had?.place.kind === "host" && has.place.kind === "none")
          givenUp.set(`${site.domain} ${has.id}`, had.attempt);
        for (const { id, key: name, state, operation } of (after as VmRecord).operations ?? []) {
          const vm = (after as VmRecord).id;
          const known = ids.get(`${site.domain} ${vm} ${name}`);
          claim(known === undefined || known === id, "H2", () => `${name} is the operations ${known} and ${id}`, vm);
          ids.set(`${site.domain} ${vm} ${name}`, id);
          const was = (before as VmRecord | undefined)?.operations?.find((one) => one.id === id)?.state;
          if (state !== "done" || was !== "pending") continue;
          claim(doneAt.has(id), "H2", () => `${operation.kind} of ${vm} is said to be done, and never was`, vm);
          world.figures.operationsDone += 1;
        }
      }
    },
    atEnd() {
      for (const site of world.sites)
        for (const record of allIn(site.store, "vm"))
          if (givenUp.get(`${site.domain} ${record.id}`) !== record.attempt) checkParts(site, record);
    },
  };
}

function checkParts(site: Site, record: VmRecord): void {
  const { id, phase, place, operations, snapshots = [], volumes = [], spec } = record;
  const pending = operations?.some(({ state }) => state === "pending");
  claim(pending !== true || isFinal(phase), "P3", () => `an operation on ${id} never ends`, id);
  if (isFinal(phase) || place.kind !== "host" || (phase !== "running" && phase !== "stopped")) return;
  const host = site.hosts.get(place.host);
  if (host === undefined) return;
  const parts = host.machine.parts.get(id);
  const there = [...(parts?.snapshots.keys() ?? [])].sort().join();
  const said = snapshots.map(({ name }) => name).sort();
  claim(said.join() === there, "H2", () => `${id} has the snapshots ${said.join()}, and there are ${there}`, id);
  const disks = [...(parts?.volumes ?? [])].map(([name, { attached }]) => `${name}:${attached}`).sort();
  const saidDisks = volumes.map(({ name, attached }) => `${name}:${attached}`).sort();
  claim(
    saidDisks.join() === disks.join(),
    "H2",
    () => `${id} has the volumes ${saidDisks.join()}, and there are ${disks.join()}`,
    id,
  );
  checkSize(host, id, spec);
}

function checkSize(host: HostNode, id: string, spec: VmRecord["spec"]): void {
  const domain = host.machine.domains.get(id);
  if (domain === undefined) return;
  const { vcpus, memoryMiB } = resourcesOf(spec);
  const same = domain.used.vcpus === vcpus && domain.used.memoryMiB === memoryMiB;
  claim(same, "H2", () => `${id} has ${vcpus} vCPUs by its record, ${domain.used.vcpus} in truth`, id);
}
