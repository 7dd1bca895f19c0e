/**
 * A host for tests that follows the rules of the protocol: attempt rule, fence, one effect per command id, notices until
 * acknowledged.
 */
import {
  type Capacity,
  type Command,
  type CommandOutcome,
  digestOf,
  type HostVm,
  type Notice,
  type Resources,
  resourcesOf,
  subtract,
  sum,
} from "@muster/protocol";
import { isAlive } from "../dispatch/next-order.ts";
import { ScriptedMover } from "../move/scripted-mover.fixture.ts";
import { ScriptedTunnels } from "../tunnels/scripted-tunnels.fixture.ts";
import type { CommandEnd } from "./event.ts";

export const HOST_SIZE: Resources = { vcpus: 8, memoryMiB: 16_384, diskGiB: 200, gpus: 0 };

/** A host as the protocol wants it: what it stored survives `boot`. */
export class ScriptedHost {
  labels: Record<string, string> = {};
  readonly name: string;
  readonly total: Resources;
  readonly attempts = new Map<string, HostVm & { readonly spec?: Resources }>();
  /** Attempts that ever had a domain here, for H5. */
  readonly started: string[] = [];
  up = true;
  bootId = "";
  term = 0;
  /** Moves VMs alive; the rules are in `ScriptedMover`. */
  moves = false;
  readonly mover: ScriptedMover;
  /** Carries tunnels where a test gives it the ability. */
  readonly tunnels: ScriptedTunnels;
  #sequence = 0;
  #answers = new Map<string, CommandEnd>();
  #notices = new Map<string, Notice>();
  #noticeSequence = 0;
  /** Work taken and not done yet: a start, or the like. */
  readonly work = new Map<string, Command>();
  /** Operations in the order in which they had their effect, and what becomes of them where they do not just succeed. */
  readonly operated: string[] = [];
  /** Why no start succeeds here; absent: all do. */
  failsStarts: string | undefined;
  operates: "done" | "refused" | "never" = "done";
  /** How a VM is after a revert. */
  revertsTo: HostVm["state"] = "running";

  constructor(name: string, total: Resources = HOST_SIZE) {
    this.name = name;
    this.total = total;
    this.mover = new ScriptedMover(this);
    this.tunnels = new ScriptedTunnels(name, (vm, attempt) => {
      const known = this.attempts.get(vm);
      return known?.attempt === attempt && isAlive(known.state);
    });
  }

  boot(bootId: string): void {
    this.up = true;
    this.bootId = bootId;
    this.#sequence = 0;
  }

  get used(): Resources {
    return sum([...this.attempts.values()].filter(({ state }) => isAlive(state)).flatMap(({ spec }) => spec ?? []));
  }

  capacity(part: Partial<Capacity> = {}): Capacity {
    this.#sequence += 1;
    const { bootId, total, used } = this;
    return {
      bootId,
      sequence: this.#sequence,
      heartbeatMs: 1_000,
      termObeyed: this.term,
      total,
      reserved: { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 },
      used,
      vms: this.attempts.size,
      foreignVms: 0,
      condition: "accepting",
      driver: "simulated",
      hypervisor: "simulated 1",
      agent: "muster 0.1.0",
      labels: this.labels,
      images: [],
      ...(this.moves ? { moves: true } : {}),
      ...(this.tunnels.ability === undefined ? {} : { tunnel: this.tunnels.ability }),
      inventoryDigest: this.digest(),
      ...part,
    };
  }

  list(): HostVm[] {
    return [...this.attempts.values()]
      .map(({ spec: _, ...entry }) => entry)
      .sort((left, right) => (left.vm < right.vm ? -1 : 1));
  }

  digest(): string {
    return digestOf(this.list());
  }

  notices(): Notice[] {
    return [...this.#notices.values()].sort((left, right) => left.sequence - right.sequence);
  }

  taken(sequence: number): void {
    for (const [vm, notice] of this.#notices) if (notice.sequence <= sequence) this.#notices.delete(vm);
  }

  /** Takes a command as a host manager does: stored, answered with the state as it is, acted on later. */
  command(command: Command): CommandEnd {
    if (command.term < this.term) return refuse("stale-term", "stale-term");
    this.term = command.term;
    const known = this.#answers.get(command.id);
    if (known !== undefined) return known;
    if (this.mover.marks.has(command.vm) && !this.mover.endsPart(command)) return refuse("unavailable", "moving");
    const end = this.#decide(command);
    this.#answers.set(command.id, end);
    return end;
  }

  /** Does what was taken. */
  act(): void {
    for (const command of this.work.values()) {
      const known = this.attempts.get(command.vm);
      if (known === undefined || known.attempt !== command.attempt || !isAlive(known.state)) continue;
      if (command.action === "operate") this.#operate(command, known);
      const state = ACTED[command.action];
      if (state === undefined) continue;
      if (command.action === "start" && this.failsStarts !== undefined) {
        this.tell({ ...known, state: "failed", reason: this.failsStarts });
        continue;
      }
      this.tell({ ...known, state, ...(state === "running" ? { address: "192.0.2.7" } : {}) });
    }
    this.work.clear();
  }

  #operate({ id, vm, operation }: Command, known: HostVm): void {
    if (this.operates === "never" || operation === undefined) return;
    if (this.operates === "refused") {
      this.tell({ ...known, operation: { id, result: "refused", reason: "no such luck" } });
      return;
    }
    this.operated.push(`${vm} ${operation.kind}`);
    const { kind } = operation;
    const state = kind === "save" ? "stopped" : kind === "revert-snapshot" ? this.revertsTo : known.state;
    this.tell({
      ...known,
      state,
      ...(kind === "save" ? { reason: "saved" } : {}),
      operation: { id, result: "done" },
    });
  }

  /** The machine lost its power: no domain is left, and the host says so when it is back. */
  powerOff(): void {
    this.up = false;
    for (const entry of [...this.attempts.values()]) if (isAlive(entry.state)) this.fail(entry.vm, "failed");
    this.work.clear();
  }

  /** The machine comes back with an empty disk: no domain, and no memory of any attempt. */
  loseDisk(): void {
    this.powerOff();
    this.attempts.clear();
    this.mover.marks.clear();
    this.#answers.clear();
    this.#notices.clear();
    this.term = 0;
  }

  /** A start that libvirt refuses, or a domain that went away. */
  fail(vm: string, state: "failed" | "stopped" | "gone" = "failed"): void {
    // An operation is carried out on what is left of the guest.
    if (state !== "stopped" || this.work.get(vm)?.action !== "operate") this.work.delete(vm);
    const known = this.attempts.get(vm);
    this.mover.marks.delete(vm);
    if (known !== undefined) this.tell({ ...known, state, reason: "no such luck" });
  }

  /** Keeps what became of an attempt, and owes the leader a notice of it. */
  tell(entry: HostVm & { readonly spec?: Resources }): void {
    this.attempts.set(entry.vm, entry);
    this.#noticeSequence += 1;
    const { spec: _, ...notice } = entry;
    this.#notices.set(entry.vm, { ...notice, sequence: this.#noticeSequence });
  }

  #decide(command: Command): CommandEnd {
    const { vm, attempt, action } = command;
    const known = this.attempts.get(vm);
    const live = known !== undefined && isAlive(known.state);
    if (action === "settle") {
      if (live) return stands(command, known.state);
      this.attempts.delete(vm);
      return stands(command, known?.state ?? "gone");
    }
    if (known !== undefined && attempt < known.attempt) return stands(command, "void");
    const same = known?.attempt === attempt;
    if (action === "start") return this.#start(command, known);
    if (action === "void" || action === "delete") {
      if (!same) {
        if (live) return refuse("conflict", "attempt-live");
        this.attempts.set(vm, { vm, attempt, state: "void" });
        return stands(command, "void");
      }
      if (live && action === "delete") this.work.set(vm, command);
      return stands(command, known.state);
    }
    if (!same || !live) return refuse("item-not-found", "unknown-vm");
    if (action === "renew") return stands(command, known.state);
    this.work.set(vm, command);
    return stands(command, known.state);
  }

  #start(command: Command, known: (HostVm & { readonly spec?: Resources }) | undefined): CommandEnd {
    const { vm, attempt, subject } = command;
    if (subject === undefined) return refuse("bad-request", "invalid");
    if (known?.attempt === attempt) {
      if (known.state !== "stopped") return stands(command, known.state);
      this.attempts.set(vm, { ...known, state: "starting" });
      this.work.set(vm, command);
      return stands(command, "starting");
    }
    if (known !== undefined && isAlive(known.state)) return refuse("conflict", "attempt-live");
    const spec = resourcesOf(subject.spec);
    const free = subtract(this.total, this.used);
    if (free.vcpus < spec.vcpus || free.memoryMiB < spec.memoryMiB || free.diskGiB < spec.diskGiB) {
      this.attempts.set(vm, { vm, attempt, state: "void" });
      return refuse("resource-constraint", "no-capacity");
    }
    this.attempts.set(vm, { vm, attempt, state: "starting", spec });
    this.started.push(`${vm}/${attempt}`);
    this.work.set(vm, command);
    return stands(command, "starting");
  }
}

const ACTED: Partial<Record<Command["action"], HostVm["state"]>> = {
  start: "running",
  resume: "running",
  reboot: "running",
  stop: "stopped",
  "cut-off": "stopped",
  suspend: "paused",
  delete: "gone",
};

function stands({ id, vm, attempt }: Command, state: HostVm["state"]): CommandEnd {
  const outcome: CommandOutcome = { id, vm, attempt, state };
  return { kind: "outcome", outcome };
}

function refuse(
  kind: "stale-term" | "unavailable" | "conflict" | "item-not-found" | "bad-request" | "resource-constraint",
  reason: string,
) {
  return { kind: "refused", refusal: { kind, reason, message: `${reason} here` } } as const;
}
