import type {
  Access,
  CommandOutcome,
  CommandSubject,
  HostVm,
  HostVmState,
  Notice,
  OperationResult,
  Refusal,
  Resources,
} from "@muster/protocol";
import type { DomainOperation } from "../hypervisor/operation.ts";
import type { DomainAction, HypervisorFacts } from "../hypervisor/port.ts";
import type { MoveMark, Moving } from "../move/moving.ts";

/** What the admin of the host decided; part of the configuration, frozen. */
export type Policy = {
  /** Says what the hypervisor reports wrongly or not at all; parts left out are taken as reported. */
  readonly total: Partial<Resources>;
  /** Kept back for the machine itself. */
  readonly reserved: Resources;
  /** How often this machine lets a vCPU and a MiB be promised, whatever the leader plans. */
  readonly overcommitMax: { readonly vcpus: number; readonly memory: number };
  readonly labels: Readonly<Record<string, string>>;
  readonly images: readonly string[];
  readonly agent: string;
  readonly heartbeatMs: number;
  /** Changes are collected this long before they are reported. */
  readonly reportMs: number;
  /** How often the hypervisor is asked for its whole list, also when it reports no change. */
  readonly surveyMs: number;
  /** How long an unanswered batch of notices waits at first, and at most, before it is sent again. */
  readonly noticeRetryMs: number;
  readonly noticeRetryMsMax: number;
  readonly attemptsMax: number;
  readonly answersMax: number;
  /** Orders handed to the hypervisor at the same time. */
  readonly jobsMax: number;
  /** How often a start, or an operation, of unknown outcome is handed to the hypervisor again before it counts as failed. */
  readonly startTriesMax: number;
};

/**
 * Until when a lent VM may run (B4). By the clock of the machine, which counts from its boot and tells nothing in another
 * one; where the boots of a machine cannot be told apart, the start of the process stands for it.
 */
export type LeaseEnd = { readonly machineBoot: string; readonly atMs: number };

/** An order about a VM that exists, stored before it is acted on and until it is done. */
export type Intent =
  | { readonly action: DomainAction; readonly command: string }
  | {
      readonly action: "operate";
      readonly command: string;
      readonly operation: DomainOperation;
      /** How often it was handed over without hearing how it ended. */
      readonly tries?: number;
    };

/**
 * What the host knows of the newest attempt at one VM: its promise (H5), and the authority for what runs.
 *
 *   (none) ── start ─▶ starting ──▶ running ⇄ paused ⇄ stopped ── delete ─▶ gone ── settle ─▶ (none)
 *      └───── void, delete, no room ─▶ void       └── domain lost, or start failed ─▶ failed
 */
export type AttemptRecord = {
  readonly vm: string;
  readonly attempt: number;
  /** `starting` is itself a stored intention: it is acted on until the hypervisor says how it ended. */
  readonly state: HostVmState;
  readonly address?: string;
  /** With an address: where its ssh is reached from outside. */
  readonly access?: Access;
  readonly reason?: string;
  /** What was ordered; absent for a tombstone. */
  readonly subject?: CommandSubject;
  readonly intent?: Intent;
  /** Attempts up to this one never start either, where a later one than `attempt` was voided (H5). */
  readonly voided?: number;
  /** How often the start was handed over without hearing how it ended. */
  readonly tries?: number;
  /** Which boot of the machine the start was ordered in: it is not taken up again in a later one (P1, H5). */
  readonly machineBoot?: string;
  /** For a VM that was lent; it only ever moves on. */
  readonly lease?: LeaseEnd;
  /** Its part in a live move: no other order touches it meanwhile. */
  readonly move?: MoveMark;
  /** Moves away from here that are over, the last few: they are not begun by what arrives late. */
  readonly movesOver?: readonly string[];
  /** How its last operation ended: told with every report, so that any leader learns of it (H2). */
  readonly operation?: OperationResult;
};

/** Counters that must survive together with what they count. */
export type Head = {
  /** Highest term obeyed (H1). */
  readonly term: number;
  /** Which leadership of that term said hello: an older copy of a site's store gives a term out once more (L1). */
  readonly opening?: string;
  /** Grows with every change of the list of attempts. */
  readonly revision: number;
  readonly digest: string;
  readonly noticeSequence: number;
  readonly answerOrder: number;
};

export type CommandAnswer =
  | { readonly kind: "outcome"; readonly outcome: CommandOutcome }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** The one answer of a command id (H2), with the digest of the command it answered. */
export type StoredAnswer = {
  readonly id: string;
  /** Position in time: the lowest is forgotten first. */
  readonly order: number;
  readonly digest: string;
  readonly answer: CommandAnswer;
};

export type HypervisorView =
  /** Not heard of since the start: nothing is known that could be reported. */
  | { readonly kind: "unheard"; readonly facts?: HypervisorFacts }
  | { readonly kind: "down"; readonly reason: string; readonly facts?: HypervisorFacts }
  /** Answers, but has not been compared with the journal since it came up. */
  | { readonly kind: "up"; readonly facts?: HypervisorFacts }
  | { readonly kind: "ready"; readonly facts: HypervisorFacts };

/** An order in the hypervisor's hands. At most one a VM: libvirt does not keep the order of calls. */
export type Job = {
  readonly action: "start" | DomainAction | "operate";
  readonly attempt: number;
  readonly command: string;
  /** With `operate`. */
  readonly operation?: DomainOperation;
};

export type Timing = {
  readonly sequence: number;
  readonly reportDueMs: number;
  readonly surveyDueMs: number;
  /** Turn in which the survey under way began; absent when none is. */
  readonly surveyTurn?: number;
  readonly noticesDueMs: number;
  /** Batches sent so far, and the highest sequence of the one under way; absent when none is. */
  readonly batch: number;
  readonly noticesSent?: number;
  readonly noticeFailures: number;
  /** When the last reports were sent, the newest last: leases are counted from one of them. */
  readonly reports: readonly { readonly sequence: number; readonly sentMs: number }[];
};

/** Everything a host manager knows. The first five maps and counters are in the journal, the rest is rebuilt. */
export type HostState = {
  readonly bootId: string;
  /** Which boot of the machine this is, where that can be told. */
  readonly machineBoot: string | undefined;
  /** What the clock of the machine is ahead of ours. */
  readonly machineAheadMs: number;
  readonly policy: Policy;
  readonly head: Head;
  readonly attempts: ReadonlyMap<string, AttemptRecord>;
  readonly answers: ReadonlyMap<string, StoredAnswer>;
  /** Unacknowledged, one a VM: a later one supersedes an earlier one. */
  readonly notices: ReadonlyMap<string, Notice>;
  /** VMs that are no more, and what they left on the machine is not known to be removed yet: also across a crash. */
  readonly leftovers: ReadonlyMap<string, true>;

  readonly hypervisor: HypervisorView;
  readonly foreign: { readonly vms: number; readonly used: Resources };
  readonly linked: boolean;
  readonly jobs: ReadonlyMap<string, Job>;
  /** VMs with something left to do for the hypervisor. */
  readonly waiting: ReadonlyMap<string, true>;
  /** Turn of the last order about a VM: a survey that began before it says nothing about that VM. */
  readonly touched: ReadonlyMap<string, number>;
  /** Of `leftovers`, those that are being removed now. */
  readonly discarding: ReadonlyMap<string, true>;
  /** What this process knows of live moves, by VM. */
  readonly moves: ReadonlyMap<string, Moving>;
  readonly turn: number;
  readonly timing: Timing;
  /** Which list of tunnels' ends it goes by; told again after each start. */
  readonly underlay?: { readonly term: number; readonly generation: number } | undefined;
};

/** What is left of a host manager after its process ended. */
export type JournalContent = {
  readonly head: Head;
  readonly attempts: readonly AttemptRecord[];
  readonly answers: readonly StoredAnswer[];
  readonly notices: readonly Notice[];
  /** Absent where there are none. */
  readonly leftovers?: readonly string[];
};

export const EMPTY_HEAD: Head = { term: 0, revision: 0, digest: "", noticeSequence: 0, answerOrder: 0 };

/**
 * The state in which a host manager starts: its journal, and nothing known of the world yet. `bootId` names this start of
 * the process, `machineBoot` that of the machine, where it can be told; `machineMs` is the time since then.
 */
export function initialState(
  content: JournalContent,
  policy: Policy,
  bootId: string,
  nowMs: number,
  machineBoot?: string,
  machineMs: number = nowMs,
): HostState {
  const none = { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 };
  return {
    bootId,
    machineBoot,
    machineAheadMs: machineMs - nowMs,
    policy,
    head: content.head,
    attempts: new Map(content.attempts.map((record) => [record.vm, withoutReboot(record)])),
    answers: new Map([...content.answers].sort((a, b) => a.order - b.order).map((answer) => [answer.id, answer])),
    notices: new Map(content.notices.map((notice) => [notice.vm, notice])),
    leftovers: new Map((content.leftovers ?? []).map((vm) => [vm, true])),
    hypervisor: { kind: "unheard" },
    foreign: { vms: 0, used: none },
    linked: false,
    jobs: new Map(),
    waiting: new Map(),
    touched: new Map(),
    discarding: new Map(),
    moves: new Map(),
    turn: 0,
    timing: {
      sequence: 0,
      reportDueMs: nowMs,
      surveyDueMs: nowMs,
      noticesDueMs: nowMs,
      batch: 0,
      noticeFailures: 0,
      reports: [],
    },
  };
}

/** H2: a reboot may have been carried out before the process ended, and a second one is worse than none. */
function withoutReboot(record: AttemptRecord): AttemptRecord {
  if (record.intent?.action !== "reboot") return record;
  const { intent: _, ...rest } = record;
  return rest;
}

/** Whether there is anything to report: before the first survey what is free is not known, and must not be guessed. */
export function isReportable({ linked, hypervisor }: Pick<HostState, "linked" | "hypervisor">): boolean {
  return linked && (hypervisor.kind === "down" || hypervisor.facts !== undefined);
}

/** Whether a domain stands, or is about to stand, behind the record. */
export function isLive(record: AttemptRecord): boolean {
  return (
    record.state === "starting" || record.state === "running" || record.state === "paused" || record.state === "stopped"
  );
}

/** The record as it is told to managers. */
export function hostVmOf(record: AttemptRecord): HostVm {
  const { vm, attempt, state, address, access, reason, operation } = record;
  return {
    vm,
    attempt,
    state,
    ...(address === undefined ? {} : { address }),
    ...(address === undefined || access === undefined ? {} : { access }),
    ...(reason === undefined ? {} : { reason }),
    ...(operation === undefined ? {} : { operation }),
  };
}
