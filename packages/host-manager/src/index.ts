/** The process on a hypervisor: obeys one leader at a time, acts through libvirt, remembers, reports. */
export { type HostConfig, type HostConfigInput, hostConfigSchema, policyOf } from "./config.ts";
export type { Change, Effect, HostEvent } from "./core/event.ts";
export { type AttemptRecord, type HostState, initialState, type JournalContent, type Policy } from "./core/state.ts";
export { nextDueMs, type Step, step } from "./core/step.ts";
export { createHostManager, type HostManager, type HostManagerParts, type Log } from "./host-manager.ts";
export { type LibvirtHypervisorOptions, libvirtHypervisor } from "./hypervisor/libvirt.ts";
export type { DomainOperation } from "./hypervisor/operation.ts";
export type {
  ActOutcome,
  DomainAction,
  DomainPlan,
  DomainReport,
  DomainState,
  Hypervisor,
  HypervisorEvent,
  HypervisorFacts,
  SurveyOutcome,
} from "./hypervisor/port.ts";
export { SimulatedMachine, type SimulatedMachineOptions } from "./hypervisor/simulated.ts";
export { levelJournal } from "./journal/level.ts";
export { type MemoryDisk, memoryDisk, memoryJournal } from "./journal/memory.ts";
export type { Journal, JournalFault } from "./journal/port.ts";
export type { MoveOrder, MoveOutcome } from "./move/port.ts";
export { inventoryDigest } from "./report/inventory.ts";
