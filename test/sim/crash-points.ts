/**
 * Every point at which the end of a process, of a machine or of what it depends on could lose, double or orphan something:
 * one name each, how it is told from others, and what is struck there. `crash-points.test.ts` aims at each of them.
 */
import type { BorrowRecord, LendRecord } from "@muster/broker";
import type { CoreEvent, RecordChange, VmRecord } from "@muster/cluster-manager";
import type { HostMoment, LeaderMoment, Moment } from "./moment.ts";
import type { Swarm } from "./swarm.ts";
import type { World } from "./world.ts";

export type CrashPoint = {
  readonly name: string;
  /** What makes the end of the process at this point harmless. */
  readonly closedBy: string;
  isAt(moment: Moment): boolean;
  /** What happens there; the process that is at it ends, where nothing else is said. `struck` is told when it has. */
  strike?(world: World, moment: Moment, struck: () => void): void;
  /** What runs are like in which the point is aimed at. */
  readonly swarm?: Partial<Swarm>;
};

const CALM: Partial<Swarm> = {
  faults: [],
  managersGone: false,
  crashAtWrite: 0,
  loss: 0,
  duplicates: 0,
  lateChance: 0,
};
/** Far longer than any lease, its grace and what a host takes to end it. */
const GONE_MS = 80_000;
const BURSTING: Partial<Swarm> = { burstShare: 0.9 };

export const CRASH_POINTS: readonly CrashPoint[] = [
  {
    name: "request: not stored yet",
    closedBy: "the user asks again under the same id (B1)",
    isAt: (moment) => beforeCommit(moment) && accepts(moment.changes),
  },
  {
    name: "request: stored, not answered",
    closedBy: "the user asks again under the same id and gets the same VMs (B1, L3)",
    isAt: (moment) => afterCommit(moment) && accepts(moment.changes),
  },
  {
    name: "request: answered, its VM waits",
    closedBy: "the queue is made from the records (P3)",
    isAt: (moment) =>
      betweenEffects(moment) &&
      moment.changes.some((change) => vmIn(change)?.phase === "queued") &&
      moment.effects.slice(0, moment.done).some(({ kind }) => kind === "answer"),
  },
  {
    name: "place: chosen, not stored",
    closedBy: "nothing has left the manager; its successor chooses anew (L4)",
    isAt: (moment) => beforeCommit(moment) && moment.changes.some(isOrdered),
  },
  {
    name: "place: stored, start not sent",
    closedBy: "the successor compares record and list, and sends the start (L4, H5)",
    isAt: (moment) => afterCommit(moment) && moment.changes.some(isOrdered) && hasNext(moment, "start"),
  },
  {
    name: "start: sent, leader gone",
    closedBy: "the host's list tells; the same attempt is never started twice (H5)",
    isAt: (moment) => isLeaders(moment) && lastCommand(moment) === "start",
  },
  {
    name: "start: at the host, not stored",
    closedBy: "the same command comes again (H2)",
    isAt: (moment) => hostBefore(moment) && ordersStart(moment),
  },
  {
    name: "start: stored at the host, not acted on",
    closedBy: "the host compares its journal with the hypervisor and starts it (H5)",
    isAt: (moment) => hostAfter(moment) && moment.effects.some(({ kind }) => kind === "start"),
  },
  {
    name: "start: done, not stored at the host",
    closedBy: "the host finds the domain of its attempt (H5)",
    isAt: (moment) => hostBefore(moment) && moment.event.kind === "acted" && moment.event.job.action === "start",
  },
  {
    name: "outcome: told to the leader, not stored there",
    closedBy: "the host keeps the notice until it is acknowledged (L3)",
    isAt: (moment) => beforeCommit(moment) && hears(moment.events, "host-notices"),
  },
  {
    name: "outcome: stored, not told on",
    closedBy: "the host sends the notice again and it is recognised; watchers and peers read the record",
    isAt: (moment) => afterCommit(moment) && hears(moment.events, "host-notices"),
  },
  {
    name: "leader: paused with a commit at hand, deposed, awake again",
    closedBy: "the store's guard and the fence of the hosts (L2, H1)",
    isAt: (moment) => beforeCommit(moment) && accepts(moment.changes),
    strike(world, moment, struck) {
      if (!isLeaders(moment)) return;
      const { lead } = moment;
      const { manager, site } = lead;
      manager.paused = true;
      world.timeline.after(500, () => site.managers.find(({ waits }) => waits)?.takeLead());
      world.timeline.after(3_000, () => {
        if (site.store.term > lead.term && manager.paused) struck();
        manager.wake();
      });
    },
  },
  {
    name: "delete: stored, not sent",
    closedBy: "ordered again until the host says that it is gone",
    isAt: (moment) =>
      afterCommit(moment) &&
      moment.changes.some((change) => vmIn(change)?.wanted === "deleted") &&
      hasNext(moment, "delete"),
  },
  {
    name: "host: power lost while it starts a VM",
    closedBy: "what was being started before another boot is not taken up again (P1, H5)",
    isAt: (moment) => hostAfter(moment) && moment.effects.some(({ kind }) => kind === "start"),
    strike(world, moment, struck) {
      if (isLeaders(moment)) return;
      const { host } = moment;
      world.timeline.after(5, () => {
        host.powerLoss();
        struck();
      });
      world.timeline.after(8_000, () => world.faults.powerOn(host));
    },
  },
  {
    name: "burst: question sent, borrower gone",
    closedBy: "the exchange is stored first; the same question under the same id, or a release (B1, B2)",
    isAt: (moment) => isLeaders(moment) && moment.done > 0 && isBurstQuestion(moment.effects[moment.done - 1]),
    swarm: BURSTING,
  },
  {
    name: "burst: granted and stored, borrower not answered",
    closedBy: "asked again, the lender gives the same answer (B1)",
    isAt: (moment) =>
      afterCommit(moment) &&
      hears(moment.events, "peer-request") &&
      moment.changes.some((change) => stageIn(change) === "held" || stageIn(change) === "leased"),
    swarm: BURSTING,
  },
  {
    name: "lease: renewed and stored, host and borrower not told",
    closedBy: "the successor tells the host of every lease; the borrower renews again (B4)",
    isAt: (moment) =>
      afterCommit(moment) &&
      moment.events.some((event) => event.kind === "peer-request" && event.request.kind === "renew") &&
      moment.changes.some((change) => stageIn(change) === "leased"),
    swarm: BURSTING,
  },
  {
    name: "lender: every manager gone while it lends",
    closedBy: "its host ends the VM by itself when the lease is over (B4, H3)",
    isAt: (moment) => isLeaders(moment) && lastCommand(moment) === "start" && lastLease(moment),
    strike(world, moment, struck) {
      if (!isLeaders(moment)) return;
      const { site } = moment.lead;
      world.timeline.after(1_000, () => {
        site.goneUntilMs = world.timeline.nowMs + GONE_MS;
        for (const manager of site.managers) {
          manager.crash();
          world.timeline.after(GONE_MS, () => manager.start());
        }
        struck();
      });
    },
    swarm: { ...BURSTING, activeMs: 120_000, leaseMs: 8_000 },
  },
  {
    name: "store: gone with a request at hand",
    closedBy: "the working set is thrown away, callers hear *try later* (L3)",
    isAt: (moment) => beforeCommit(moment) && accepts(moment.changes),
    strike(world, moment, struck) {
      if (!isLeaders(moment)) return;
      const kind = world.rng.int(2) === 0 ? "failed" : "unknown";
      moment.lead.site.trouble = { kind, untilMs: world.timeline.nowMs + 4_000 };
      struck();
    },
  },
  {
    name: "XMPP server: gone with a start on its way",
    closedBy: "nobody is dead for our own silence; the same command again (H2)",
    isAt: (moment) => isLeaders(moment) && lastCommand(moment) === "start",
    strike(world, moment, struck) {
      if (!isLeaders(moment)) return;
      const { site } = moment.lead;
      world.timeline.after(0, () => {
        site.setServer(true);
        struck();
      });
      world.timeline.after(6_000, () => site.setServer(false));
    },
  },
  {
    name: "store: put back as it was before a start was confirmed",
    closedBy: "a later term, and the lists of the hosts (L1, L4): records follow what runs",
    isAt: (moment) => afterCommit(moment) && moment.changes.some(isOrdered),
    strike(world, moment, struck) {
      if (!isLeaders(moment)) return;
      const { site } = moment.lead;
      const backup = new Map(site.store.read());
      world.timeline.after(2_000, () => {
        // What was asked for after the backup is lost with it: that is what a backup is.
        if (world.healed || [...site.store.records].some(([key]) => !backup.has(key))) return;
        for (const manager of site.managers) manager.crashAndReturn();
        site.store.records.clear();
        for (const [key, value] of backup) site.store.records.set(key, value);
        struck();
      });
    },
    swarm: { ...CALM, operations: 6, burstShare: 0, rush: 1 },
  },
  {
    name: "host: its journal lost",
    closedBy: "it adopts what runs and ends nothing (H3); its term is that of the next hello (H1)",
    isAt: (moment) => isHostsStep(moment) && moment.event.kind === "acted" && moment.event.job.action === "start",
    strike(world, moment, struck) {
      if (isLeaders(moment)) return;
      const { host } = moment;
      world.timeline.after(1_500, () => {
        host.crash();
        host.loseJournal();
        struck();
        world.timeline.after(500, () => host.start());
      });
    },
    swarm: { ...CALM, burstShare: 0 },
  },
];

function isLeaders(moment: Moment): moment is LeaderMoment {
  return "lead" in moment;
}

function beforeCommit(moment: Moment): moment is LeaderMoment {
  return moment.where === "before-commit";
}

function afterCommit(moment: Moment): moment is LeaderMoment {
  return moment.where === "after-commit";
}

function betweenEffects(moment: Moment): moment is LeaderMoment {
  return moment.where === "between-effects";
}

function hostBefore(moment: Moment): moment is HostMoment {
  return moment.where === "host-before-store";
}

function hostAfter(moment: Moment): moment is HostMoment {
  return moment.where === "host-after-store";
}

function isHostsStep(moment: Moment): moment is HostMoment {
  return moment.where === "host-after-store" || moment.where === "host-before-store";
}

function accepts(changes: readonly RecordChange[]): boolean {
  return changes.some(({ kind, key }) => kind === "put" && key.startsWith("request/"));
}

function hears(events: readonly CoreEvent[], kind: CoreEvent["kind"]): boolean {
  return events.some((event) => event.kind === kind);
}

function vmIn(change: RecordChange): VmRecord | undefined {
  return change.kind === "put" && change.key.startsWith("vm/") ? (change.value as VmRecord) : undefined;
}

function stageIn(change: RecordChange): (LendRecord | BorrowRecord)["stage"] | undefined {
  return change.kind === "put" && change.key.startsWith("lend/") ? (change.value as LendRecord).stage : undefined;
}

/** A place that was just given out: its start is to follow. */
function isOrdered(change: RecordChange): boolean {
  const place = vmIn(change)?.place;
  return place?.kind === "host" && place.startedOn === "ordered" && vmIn(change)?.phase === "placing";
}

function ordersStart({ event }: HostMoment): boolean {
  return event.kind === "command" && event.command.action === "start";
}

function hasNext({ effects }: LeaderMoment, action: string): boolean {
  return effects.some((effect) => effect.kind === "command" && effect.command.action === action);
}

/** The command that has just left. */
function lastCommand({ effects, done }: LeaderMoment): string | undefined {
  const last = effects[done - 1];
  return last?.kind === "command" ? last.command.action : undefined;
}

function lastLease({ effects, done }: LeaderMoment): boolean {
  const last = effects[done - 1];
  return last?.kind === "command" && last.command.lease !== undefined;
}

function isBurstQuestion(effect: LeaderMoment["effects"][number] | undefined): boolean {
  return effect?.kind === "peer-send" && (effect.request.kind === "hold" || effect.request.kind === "lease");
}
