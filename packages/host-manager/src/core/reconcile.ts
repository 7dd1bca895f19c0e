/** Compares what the journal says with what the hypervisor has. The hypervisor is right about what runs (H3). */
import { isDeepStrictEqual } from "node:util";
import { LEASE_MS_MAX, sum } from "@muster/protocol";
import type { DomainPlan, DomainReport, SurveyOutcome } from "../hypervisor/port.ts";
import { surveyMoving } from "../move/move-end.ts";
import { clockOf, isLeaseOver, LEASE_OVER } from "./lease-end.ts";
import { observe } from "./observe.ts";
import { type AttemptRecord, isLive } from "./state.ts";
import type { Turn } from "./turn.ts";

type OurDomain = DomainReport & { readonly plan: DomainPlan };

/** Takes a survey that began in turn `surveyTurn`; what was ordered since then it cannot know. */
export function takeSurvey(turn: Turn, outcome: SurveyOutcome, surveyTurn: number): void {
  if (outcome.kind === "unknown") {
    turnDown(turn, outcome.reason);
    return;
  }
  const wasReady = turn.hypervisor.kind === "ready";
  if (!isDeepStrictEqual(turn.hypervisor.facts, outcome.facts)) turn.reportSoon();
  turn.hypervisor = { kind: "ready", facts: outcome.facts };
  if (!wasReady) {
    turn.log("info", "the hypervisor answers and was compared with the journal");
    turn.reportNow();
    tidy(turn);
  }
  const ours = new Map(outcome.domains.filter(isOurs).map((domain) => [domain.uuid, domain]));
  countForeign(turn, outcome.domains);
  const isStale = (vm: string): boolean => turn.jobs.has(vm) || (turn.touched.get(vm) ?? 0) > surveyTurn;
  for (const record of Array.from(turn.attempts.map.values()))
    if (record.move !== undefined && !isStale(record.vm)) surveyMoving(turn, record, ours.get(record.vm));
  for (const domain of ours.values()) if (!isStale(domain.uuid)) meetDomain(turn, domain);
  for (const record of Array.from(turn.attempts.map.values()))
    if (isLive(record) && !ours.has(record.vm) && !isStale(record.vm)) missDomain(turn, record);
  turn.discardRest();
  for (const [vm, touchedTurn] of turn.touched.map) if (touchedTurn <= surveyTurn) turn.touched.delete(vm);
}

/** The hypervisor does not answer: nothing is concluded about any VM, and no new one is taken (H4). */
export function turnDown(turn: Turn, reason: string): void {
  if (turn.hypervisor.kind !== "down") {
    turn.log("warn", `the hypervisor does not answer: ${reason}`);
    turn.reportNow();
  }
  const { facts } = turn.hypervisor;
  turn.hypervisor = { kind: "down", reason, ...(facts === undefined ? {} : { facts }) };
}

/** Before anything is started: what belongs to no VM of ours any more goes, and nothing else (H3). */
function tidy(turn: Turn): void {
  const known = Array.from(turn.attempts.map.values()).filter((record) => isLive(record) || record.state === "failed");
  turn.effects.push({ kind: "tidy", known: new Set(known.map(({ vm }) => vm)) });
}

function meetDomain(turn: Turn, domain: OurDomain): void {
  const record = turn.attempts.get(domain.uuid);
  if (record?.move !== undefined) return;
  if (record === undefined || record.attempt !== domain.plan.attempt) {
    adopt(turn, domain, record);
    return;
  }
  if (record.intent !== undefined) turn.waiting.set(record.vm, true);
  if (record.state === "starting" && domain.state === "stopped" && mayStillStart(turn, record)) {
    // Defined but not started, or started and ended already: the order was that it runs.
    turn.waiting.set(record.vm, true);
    return;
  }
  observe(turn, record, domain, isLive(record) ? undefined : `it is ${domain.state}, and was ${record.state} before`);
}

/** H3: a VM of ours that the journal does not know is reported, never killed: the journal may have been lost. */
function adopt(turn: Turn, domain: OurDomain, record: AttemptRecord | undefined): void {
  const { attempt, subject } = domain.plan;
  const promised = Math.max(record?.voided ?? 0, record?.attempt ?? 0);
  turn.log("warn", `adopted attempt ${attempt}, ${domain.state}, which the journal did not know`, domain.uuid);
  turn.putAndTell({
    vm: domain.uuid,
    attempt,
    state: domain.state,
    subject,
    // How long was granted is forgotten: no lease lasts longer than this (B4).
    ...(subject.lease === undefined
      ? {}
      : { lease: { machineBoot: clockOf(turn), atMs: turn.machineMs + LEASE_MS_MAX } }),
    reason: "found on the hypervisor and adopted",
    ...(domain.address === undefined ? {} : { address: domain.address }),
    ...(domain.access === undefined ? {} : { access: domain.access }),
    ...(promised > attempt ? { voided: promised } : {}),
  });
}

/** The journal has it, the hypervisor does not. */
function missDomain(turn: Turn, record: AttemptRecord): void {
  if (record.move !== undefined) return;
  const { intent, address: _, ...rest } = record;
  if (intent?.action === "delete") {
    turn.putAndTell({ ...rest, state: "gone" });
    turn.discard(record.vm);
    return;
  }
  if (record.state !== "starting") {
    turn.log("warn", `its domain is gone, it was ${record.state}`, record.vm);
    turn.putAndTell({
      ...rest,
      state: "failed",
      reason: "its domain is gone: the host or its hypervisor was restarted",
    });
  } else {
    const reason = whyNoMoreTries(turn, record);
    if (reason === undefined) {
      turn.waiting.set(record.vm, true);
    } else {
      turn.putAndTell({ ...rest, state: "failed", reason });
      turn.discard(record.vm);
    }
  }
}

function whyNoMoreTries(turn: Turn, record: AttemptRecord): string | undefined {
  if (isOfEarlierBoot(turn, record)) return "the machine was restarted while it was being started";
  if (isLeaseOver(turn, record)) return LEASE_OVER;
  if ((record.tries ?? 0) < turn.policy.startTriesMax) return undefined;
  return `the start was tried ${record.tries} times, each without an end`;
}

function mayStillStart(turn: Turn, record: AttemptRecord): boolean {
  return !isOfEarlierBoot(turn, record) && !isLeaseOver(turn, record);
}

/**
 * The machine went down after the start was ordered: it may have been declared dead since, and the VM may run elsewhere
 * (P1). Only a leader that knows the place of the VM may order it anew.
 */
function isOfEarlierBoot({ machineBoot }: Turn, record: AttemptRecord): boolean {
  return record.machineBoot !== undefined && machineBoot !== undefined && record.machineBoot !== machineBoot;
}

function countForeign(turn: Turn, domains: readonly DomainReport[]): void {
  const foreign = domains.filter((domain) => !isOurs(domain));
  const used = sum(foreign.filter(({ state }) => state !== "stopped").map((domain) => domain.used));
  const isNews =
    foreign.length !== turn.foreign.vms ||
    used.vcpus !== turn.foreign.used.vcpus ||
    used.memoryMiB !== turn.foreign.used.memoryMiB ||
    used.diskGiB !== turn.foreign.used.diskGiB;
  if (isNews) turn.reportSoon();
  turn.foreign = { vms: foreign.length, used };
}

/** By its metadata, and only where that speaks of this very domain: a copied metadata block makes no VM of ours. */
function isOurs(domain: DomainReport): domain is OurDomain {
  return domain.plan !== undefined && domain.plan.vm === domain.uuid;
}
