/** What the tests of this package build upon: ids, subjects and commands that say only what matters to a test. */
import type { Command, CommandAction, CommandSubject, HostOperation, Resources } from "@muster/protocol";
import type { DomainPlan } from "../hypervisor/port.ts";

/** The n-th UUID of its kind: ordered as the numbers are. */
export function uuid(number: number, kind = 0): string {
  return `0192${String(kind).padStart(4, "0")}-0000-7000-8000-${String(number).padStart(12, "0")}`;
}

export function vmId(number: number): string {
  return uuid(number, 1);
}

export function commandId(number: number): string {
  return uuid(number, 2);
}

export function subject(more: { readonly name?: string; readonly size?: Partial<Resources> } = {}): CommandSubject {
  return {
    name: more.name ?? "web-1",
    request: "request-1",
    project: "shop",
    owner: "ada",
    spec: { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5, gpus: 0, labels: {}, ...more.size },
  };
}

export function plan(number: number, attempt = 1): DomainPlan {
  return { vm: vmId(number), attempt, subject: subject() };
}

export type CommandWish = {
  readonly vm?: number;
  readonly attempt?: number;
  readonly term?: number;
  readonly subject?: CommandSubject;
  readonly operation?: HostOperation;
};

/** A command of term 1 about the first attempt at VM 1, unless it says otherwise. */
export function command(id: number, action: CommandAction, wish: CommandWish = {}): Command {
  return {
    id: commandId(id),
    term: wish.term ?? 1,
    action,
    vm: vmId(wish.vm ?? 1),
    attempt: wish.attempt ?? 1,
    ...(action === "start" ? { subject: wish.subject ?? subject() } : {}),
    ...(wish.operation === undefined ? {} : { operation: wish.operation }),
  };
}
