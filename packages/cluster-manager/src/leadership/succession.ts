import { type Clock, err, isRunning, type ProcessIdentity, type Result } from "@muster/base";
import type { Store } from "../store/store.ts";
import type { StoreFault } from "../store/store-fault.ts";
import { fenceLeader } from "./fence.ts";
import { readLeaderNote } from "./leader-note.ts";
import type { OpenStore } from "./site-store.ts";
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
};

/** LevelDB's lock decides: it comes free with the leader's process, at the latest when that is ended. */
export function levelSuccession(path: string, open: OpenStore, clock: Clock): Succession {
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
  };
}

/** How often etcd is asked who leads, where no beat says anything. */
const ASK_MS = 250;

/** The term in etcd decides: it is changed under a leader's hands by compare-and-set, and nobody's process is ended. */
export function etcdSuccession(open: OpenStore, clock: Clock): Succession {
  let leader: LeaderSight | undefined;
  let askAtMs = 0;
  return {
    leader: () => leader,
    isRipe: (verdict) => verdict !== "calm" || clock.nowMs() >= askAtMs,
    async open(verdict) {
      const opened = await open(verdict === "calm" ? undefined : leader?.term);
      askAtMs = clock.nowMs() + ASK_MS;
      if (!opened.ok && opened.error.leader !== undefined) leader = opened.error.leader;
      return opened;
    },
    fence: async () => err("its term is taken from it instead"),
  };
}

/** Whether the leader's process is known to be gone. */
export function isGone({ process }: LeaderSight): boolean {
  return process !== undefined && !isRunning(process);
}
