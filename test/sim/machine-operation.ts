/** What operations make of a guest and of what lies beside it on its host's disk. */
import type { DomainOperation } from "@muster/host-manager";
import type { Domain, Parts } from "./domain.ts";

/** Carries it out; why not, where it cannot be. What is done already is done (H2). */
export function operateOn(
  domain: Domain,
  { snapshots, volumes }: Parts,
  operation: DomainOperation,
): string | undefined {
  switch (operation.kind) {
    case "cut-off":
    case "save":
      domain.state = "stopped";
      return undefined;
    case "create-snapshot":
      if (!snapshots.has(operation.name)) snapshots.set(operation.name, domain.state);
      return undefined;
    case "revert-snapshot": {
      const state = snapshots.get(operation.name);
      if (state === undefined) return "there is no such snapshot";
      domain.state = state;
      return undefined;
    }
    case "delete-snapshot":
      snapshots.delete(operation.name);
      return undefined;
    case "attach-volume":
      volumes.set(operation.name, { sizeGiB: operation.sizeGiB, attached: true });
      return undefined;
    case "detach-volume": {
      const volume = volumes.get(operation.name);
      if (operation.discard) volumes.delete(operation.name);
      else if (volume !== undefined) volumes.set(operation.name, { ...volume, attached: false });
      return undefined;
    }
    case "resize": {
      if (domain.state !== "stopped") return "the domain runs";
      const { vcpus = domain.used.vcpus, memoryMiB = domain.used.memoryMiB, diskGiB = domain.used.diskGiB } = operation;
      domain.used = { ...domain.used, vcpus, memoryMiB, diskGiB };
      return undefined;
    }
  }
}
