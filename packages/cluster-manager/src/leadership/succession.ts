import { type Clock, err, isRunning, type ProcessIdentity, type Result } from "@muster/base";
import type { EtcdFollower } from "../store/etcd-follower.ts";
import type { Store } from "../store/store.ts";
import type { StoreFault } from "../store/store-fault.ts";
import { fenceLeader } from "./fence.ts";
import { readLeaderNote } from "./leader-note.ts";
import type { SiteStore } from "./site-store.ts";
import { lockHolder } from "./store-lock.ts";
import type { Verdict } from "./suspicion.ts";

/** The leader as those who wait know it: a hint, the store alone decides. */
export type LeaderSight = {
  readonly manager: string;
  readonly term: number;
  /** Base address of its HTTP API, where it is known. */
  readonly url?: string | undefined;
  /** Its process, where it is on this machine. */
  readonly process?: ProcessIdentity | undefined;
};

/** What differs between kinds of stores when the lead changes hands. */
export type Succession = {
  leader(): LeaderSight | undefined;
  /** Whether opening may succeed, by what the beats say. Cheap: asked at every beat. */
  isRipe(verdict: Verdict): boolean;
  /** Opens the store: whoever succeeds leads under the next term (L1). */
  open(verdict: Verdict): Promise<Result<Store, StoreFault>>;
  /** Ends a hung leader, where the store does not come free without it. */
  fence(leader: LeaderSight): Promise<Result<void, string>>;
  /** Lets go of what was kept for the wait: this manager leads and has read the store, or it ends. */
  rest(): Promise<void>;
};

export function successionOf(store: SiteStore, clock: Clock, manager: string): Succession {
  return store.kind === "level" ? levelSuccession(store, clock) : etcdSuccession(store, clock, manager);
}

/** LevelDB's lock decides: it comes free with the leader's process, at the latest when that is ended. */
function levelSuccession({ path, open }: Extract<SiteStore, { kind: "level" }>, clock: Clock): Succession {
  return {
    leader() {
      const note = readLeaderNote(path);
      if (note === undefined) return undefined;
      const { manager, term, url, pid, startTicks } = note;
      return { manager, term, url, process: { pid, startTicks } };
    },
    isRipe: () => lockHolder(path).kind !== "held",
    open: () => open(),
    async fence({ manager, process }) {
      if (process === undefined) return err("its process is not known");
      return fenceLeader({ manager, ...process }, path, clock);
    },
    rest: async () => {},
  };
}

/** How often etcd is asked who leads, where neither beats nor the watch say anything. */
const ASK_MS = 250;
/** A leader of our own name that keeps its lease for so long is no earlier life of ours: its lease is 3 s. */
const NAMESAKE_MS = 10_000;

/** Beats that say that the leader of a term is to be deposed. */
const DEPOSING: ReadonlySet<Verdict> = new Set(["suspected", "absent", "hung"]);

/**
 * The term in etcd decides: it is changed under a leader's hands by compare-and-set, and nobody's process is ended. While
 * this manager waits it keeps a copy by a watch, which also tells at once when the leader gave the lead up or lost its lease.
 */
function etcdSuccession(store: Extract<SiteStore, { kind: "etcd" }>, clock: Clock, manager: string): Succession {
  let copy: EtcdFollower | undefined;
  let told: LeaderSight | undefined;
  let knownTerm = 0;
  let askAtMs = 0;
  let namesakeSinceMs: number | undefined;
  const leader = (): LeaderSight | undefined => {
    const seen = copy?.lead;
    return seen !== undefined && seen.term >= (told?.term ?? 0) ? seen : told;
  };
  const isNamesake = (fault: StoreFault): boolean => {
    if (fault.leader?.manager !== manager) namesakeSinceMs = undefined;
    else namesakeSinceMs ??= clock.nowMs();
    return namesakeSinceMs !== undefined && clock.nowMs() - namesakeSinceMs >= NAMESAKE_MS;
  };
  return {
    leader,
    isRipe: (verdict) => DEPOSING.has(verdict) || copy?.lead?.alive === false || clock.nowMs() >= askAtMs,
    async open(verdict) {
      const deposing = DEPOSING.has(verdict) ? leader()?.term : undefined;
      knownTerm = Math.max(knownTerm, leader()?.term ?? 0);
      const opened = await store.open({ deposing, knownTerm, warm: copy });
      askAtMs = clock.nowMs() + ASK_MS;
      if (opened.ok) {
        knownTerm = opened.value.term;
        namesakeSinceMs = undefined;
        return opened;
      }
      if (opened.error.leader !== undefined) told = opened.error.leader;
      copy ??= store.follow();
      return isNamesake(opened.error) ? err(namesake(opened.error, manager)) : opened;
    },
    fence: async () => err("its term is taken from it instead"),
    async rest() {
      const closing = copy;
      copy = undefined;
      await closing?.close();
    },
  };
}

function namesake({ message }: StoreFault, manager: string): StoreFault {
  return {
    kind: "namesake",
    message: `${message}: another manager named "${manager}" leads; give each manager of the site its own name`,
  };
}

/** Whether the leader's process is known to be gone. */
export function isGone({ process }: LeaderSight): boolean {
  return process !== undefined && !isRunning(process);
}
