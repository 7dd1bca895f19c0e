import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Change } from "../core/event.ts";
import { type AttemptRecord, EMPTY_HEAD, type JournalContent, type StoredAnswer } from "../core/state.ts";
import { commandId, subject, vmId } from "../testing/fixture.ts";
import type { Journal } from "./port.ts";

/** A place for one journal, with what a test does behind its back. */
export type JournalUnderTest = {
  /** A new journal over the same content, not loaded. */
  open(): Journal;
  /** Spoils one stored entry; the journal is closed. */
  damage(): Promise<void>;
  remove(): Promise<void>;
};

const HEAD = { term: 7, revision: 12, digest: "d".repeat(64), noticeSequence: 3, answerOrder: 5 };
const RECORD: AttemptRecord = {
  vm: vmId(1),
  attempt: 2,
  state: "running",
  address: "10.0.0.7",
  subject: subject(),
  intent: { action: "stop", command: commandId(4) },
  voided: 3,
};
const TOMBSTONE: AttemptRecord = { vm: vmId(2), attempt: 1, state: "void", reason: "no room" };
const answer = (order: number): StoredAnswer => ({
  id: commandId(order),
  order,
  digest: "a".repeat(64),
  answer: { kind: "outcome", outcome: { id: commandId(order), vm: vmId(1), attempt: 2, state: "running" } },
});
const NOTICE = { vm: vmId(1), attempt: 2, state: "running" as const, sequence: 3 };

const ALL: readonly Change[] = [
  { kind: "head", head: HEAD },
  { kind: "attempt", vm: RECORD.vm, record: RECORD },
  { kind: "attempt", vm: TOMBSTONE.vm, record: TOMBSTONE },
  { kind: "answer", order: 4, answer: answer(4) },
  { kind: "answer", order: 5, answer: answer(5) },
  { kind: "notice", vm: NOTICE.vm, notice: NOTICE },
  { kind: "leftover", vm: vmId(3), isLeft: true },
];

/** What every journal behind the port promises; run against each adapter. */
export function journalContract(name: string, setUp: () => Promise<JournalUnderTest>): void {
  describe(`journal contract: ${name}`, () => {
    let place: JournalUnderTest;
    let journal: Journal;

    beforeEach(async () => {
      place = await setUp();
      journal = place.open();
    });
    afterEach(async () => {
      await journal.close();
      await place.remove();
    });

    async function loaded(): Promise<JournalContent> {
      const content = await journal.load();
      if (!content.ok) throw new Error(content.error.message);
      return content.value;
    }
    async function reloaded(): Promise<JournalContent> {
      await journal.close();
      journal = place.open();
      return loaded();
    }

    it("is empty at first", async () => {
      expect(await loaded()).toEqual({ head: EMPTY_HEAD, attempts: [], answers: [], notices: [] });
    });

    it("J2: gives back exactly what was committed, answers in their order", async () => {
      await loaded();
      await journal.commit(ALL);
      expect(await reloaded()).toEqual({
        head: HEAD,
        attempts: [RECORD, TOMBSTONE],
        answers: [answer(4), answer(5)],
        notices: [NOTICE],
        leftovers: [vmId(3)],
      });
    });

    it("J1: a later commit replaces and removes", async () => {
      await loaded();
      await journal.commit(ALL);
      await journal.commit([
        { kind: "head", head: { ...HEAD, term: 8 } },
        { kind: "attempt", vm: RECORD.vm, record: { ...RECORD, state: "stopped" } },
        { kind: "attempt", vm: TOMBSTONE.vm, record: undefined },
        { kind: "answer", order: 4, answer: undefined },
        { kind: "notice", vm: NOTICE.vm, notice: undefined },
        { kind: "leftover", vm: vmId(3), isLeft: false },
      ]);
      expect(await reloaded()).toEqual({
        head: { ...HEAD, term: 8 },
        attempts: [{ ...RECORD, state: "stopped" }],
        answers: [answer(5)],
        notices: [],
      });
    });

    it("J1: commits handed over at once are done in their order", async () => {
      await loaded();
      const terms = Array.from({ length: 50 }, (_, term) => term + 1);
      await Promise.all(terms.map((term) => journal.commit([{ kind: "head", head: { ...HEAD, term } }])));
      expect((await reloaded()).head.term).toBe(50);
    });

    it("J3: a second owner is refused, with what to do, and the first is not disturbed", async () => {
      await loaded();
      const second = place.open();
      const refused = await second.load();
      expect(refused).toMatchObject({ ok: false, error: { kind: "locked" } });
      await second.close();
      await journal.commit([{ kind: "head", head: HEAD }]);
      expect((await reloaded()).head).toEqual(HEAD);
    });

    it("S1: an entry that is not what was written is refused, and the entry named", async () => {
      await loaded();
      await journal.commit(ALL);
      await journal.close();
      await place.damage();
      journal = place.open();
      const refused = await journal.load();
      expect(refused).toMatchObject({
        ok: false,
        error: { kind: "damaged", message: expect.stringContaining("head") },
      });
    });
  });
}
