/** Ports that fail when and where a test wants them to. */
import type { ActOutcome, Hypervisor } from "../hypervisor/port.ts";
import type { Journal } from "../journal/port.ts";

export type JournalFaults = {
  /** The next commit is done, and its owner ends before it hears so: a crash between storing and acting. */
  loseNext?: "stored" | "not-stored";
  /** Commits wait for it: a slow disk. */
  until?: Promise<void>;
};

export function faultyJournal(journal: Journal, faults: JournalFaults): Journal {
  return {
    load: () => journal.load(),
    async commit(changes) {
      const { loseNext } = faults;
      delete faults.loseNext;
      await faults.until;
      if (loseNext !== "not-stored") await journal.commit(changes);
      if (loseNext !== undefined) throw new Error("the disk went away");
    },
    close: () => journal.close(),
  };
}

export type HypervisorFaults = {
  /** Orders are carried out and never answered: a crash between acting and hearing how it ended. */
  deaf: boolean;
};

export function faultyHypervisor(hypervisor: Hypervisor, faults: HypervisorFaults): Hypervisor {
  const heard = (order: Promise<ActOutcome>): Promise<ActOutcome> =>
    faults.deaf ? new Promise<ActOutcome>(() => {}) : order;
  return {
    open: (listener) => hypervisor.open(listener),
    survey: () => hypervisor.survey(),
    start: (plan) => heard(hypervisor.start(plan)),
    act: (vm, action) => heard(hypervisor.act(vm, action)),
    close: () => hypervisor.close(),
  };
}
