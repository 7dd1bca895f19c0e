/**
 * Port Hypervisor: what a host manager needs of libvirt, and what the simulated one does as well.
 *
 * - V1 `start` is safe to repeat: a domain of the same VM and attempt is started or left running, never doubled; one of
 *   another attempt is a twin and refused (H5, P1).
 * - V2 `survey` tells every domain there is, ours told apart by their metadata; it changes nothing (H3).
 * - V3 every call ends within its deadline. `unknown` means that the hypervisor may have acted: only a survey tells.
 * - V4 `close` leaves every VM as it is.
 */
import type { Duplex } from "node:stream";
import type { Result } from "@muster/base";
import type { Access, CommandSubject, NetworkAbilities, Resources, UnderlayEnd, UnderlayPeer } from "@muster/protocol";
import type { LogPart } from "../guest/serial-log.ts";
import type { Mover } from "../move/port.ts";
import type { DomainOperation, SnapshotReport } from "./operation.ts";

/** Orders about a VM that exists. `delete` ends it and removes everything of it; all but `reboot` are safe to repeat. */
export type DomainAction = "stop" | "suspend" | "resume" | "reboot" | "delete";

/** What is to be started: also what stands in the domain's metadata, so that a survey can tell it again. */
export type DomainPlan = { readonly vm: string; readonly attempt: number; readonly subject: CommandSubject };

export type DomainState = "running" | "paused" | "stopped";

/** A domain on the hypervisor. */
export type DomainReport = {
  /** UUID of the domain; the VM id where the domain is ours. */
  readonly uuid: string;
  readonly state: DomainState;
  /** What it takes, as the hypervisor has it. */
  readonly used: Resources;
  /** Present where the metadata says that the domain is ours. */
  readonly plan?: DomainPlan;
  readonly address?: string;
  /** Where its ssh is reached from outside, where it is behind the host's address. */
  readonly access?: Access;
};

export type HypervisorFacts = {
  readonly total: Resources;
  /** libvirt's driver: `QEMU`, `TEST`; `simulated`. */
  readonly driver: string;
  /** For people: name and version. */
  readonly hypervisor: string;
  /** Whether VMs can be moved alive from and to it. */
  readonly moves?: boolean;
  /** What this machine can do, as labels that a VM may ask for. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Digests of the images that are here: a VM of one of them starts sooner. */
  readonly images?: readonly string[];
  /** What VMs can be attached to here, where somebody can tell. */
  readonly networks?: NetworkAbilities;
  /** Where tunnels to this host end. */
  readonly underlay?: UnderlayEnd;
};

export type ActOutcome =
  /** Without a domain after a `delete`. */
  | { readonly kind: "done"; readonly domain?: DomainReport }
  /** The hypervisor said no, for good; nothing was changed, and of a start nothing is left. */
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

export type SurveyOutcome =
  | { readonly kind: "surveyed"; readonly facts: HypervisorFacts; readonly domains: readonly DomainReport[] }
  | { readonly kind: "unknown"; readonly reason: string };

export type HypervisorEvent =
  | { readonly kind: "up" }
  | { readonly kind: "down"; readonly reason: string }
  | { readonly kind: "changed" };

export type Hypervisor = {
  /** Connects and stays connected until `close`; returns at once. May be called once. */
  open(listener: (event: HypervisorEvent) => void): void;
  survey(): Promise<SurveyOutcome>;
  start(plan: DomainPlan): Promise<ActOutcome>;
  /** The start of this VM that is under way waits for nothing any more: for no image, for one. It ends as it can. */
  giveUp?(vm: string): void;
  act(vm: string, action: DomainAction): Promise<ActOutcome>;
  /**
   * Removes what is left of VMs that have no domain (disks, addresses): their records are closed, or their starts were given
   * up. VMs that have a domain are left as they are. Safe to repeat; absent where a VM is its domain and nothing else.
   */
  discard?(vms: readonly string[]): Promise<void>;
  /**
   * Removes what a crash left of VMs outside `known` that have no domain: starts that got nowhere, deletions that were begun.
   * Starts that are ordered after it wait for it.
   */
  tidy?(known: ReadonlySet<string>): Promise<void>;
  /**
   * At most `max` bytes of what the VM's serial console has said, from `offset` on or its end; `undefined` where nothing is
   * kept of it. Absent where there are no consoles.
   */
  log?(vm: string, offset: number | undefined, max: number): Promise<LogPart | undefined>;
  /** Orders that carry something with them, where VMs are real guests; refused for a VM that is not there. */
  operate?(vm: string, operation: DomainOperation): Promise<ActOutcome>;
  /** Its snapshots, oldest first; `undefined` where there is no such VM. Rejects where the hypervisor does not answer. */
  snapshots?(vm: string): Promise<readonly SnapshotReport[] | undefined>;
  /**
   * The serial console as bytes both ways; it ends with the guest, and `destroy` detaches. The fault is a sentence. `force`
   * takes it from whoever is at it.
   */
  console?(vm: string, force: boolean): Promise<Result<Duplex, string>>;
  /** Where tunnels to the site's hosts end, as the leader tells it. Absent where there are no tunnels. */
  learnUnderlay?(peers: readonly UnderlayPeer[]): Promise<void>;
  /** Live migration, where the hypervisor has it. */
  readonly mover?: Mover | undefined;
  close(): Promise<void>;
};
