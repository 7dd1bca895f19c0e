import { Element } from "ltx";
import { describe, expect, it } from "vitest";
import type { SendOutcome } from "./bus.ts";
import { Outbox } from "./outbox.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const BOUNDS = { maxQueued: 3, maxQueuedAnswers: 2, maxStanzaBytes: 100, maxBufferedBytes: 200, maxUnacked: 5 };

class SlowLink {
  bufferedBytes = 0;
  unackedStanzas = 0;
  readonly written: string[] = [];

  write(stanza: Element, xml: string): void {
    this.written.push(stanza.attrs.id ?? "");
    this.bufferedBytes += Buffer.byteLength(xml);
    this.unackedStanzas += 1;
  }
}

function stanza(id: number, length = 60): Element {
  return new Element("message", { id: String(id) }).t("x".repeat(length));
}

describe("Outbox", () => {
  it("X1, S2: hands over until the link is full, queues to its bound, refuses the rest, goes on in order", async () => {
    const link = new SlowLink();
    const outbox = new Outbox(BOUNDS);
    outbox.attach(link);
    const outcomes: (SendOutcome | undefined)[] = Array.from({ length: 8 });
    outcomes.forEach((_, id) => {
      void outbox.send(stanza(id)).then((outcome) => {
        outcomes[id] = outcome;
      });
    });
    await settle();
    const kinds = (): (string | undefined)[] => outcomes.map((outcome) => outcome?.kind);
    const [sent, full] = ["sent", "queue-full"];
    expect(kinds()).toEqual([sent, sent, sent, undefined, undefined, undefined, full, full]);
    link.bufferedBytes = 0;
    link.unackedStanzas = 4;
    outbox.drained();
    await settle();
    expect(kinds().slice(0, 6)).toEqual([sent, sent, sent, sent, undefined, undefined]);
    link.unackedStanzas = 0;
    outbox.drained();
    await settle();
    expect(link.written).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(outbox.queued).toBe(0);
  });

  it("X4, S2: answers may wait beyond the bound of our own stanzas, to a bound of theirs", async () => {
    const link = new SlowLink();
    link.unackedStanzas = 5;
    const outbox = new Outbox(BOUNDS);
    outbox.attach(link);
    const own = [1, 2, 3, 4].map((id) => outbox.send(stanza(id)));
    const answers = [5, 6, 7].map((id) => outbox.send(stanza(id), "answer"));
    expect([await own[3], await answers[2]].map((outcome) => outcome?.kind)).toEqual(["queue-full", "queue-full"]);
    link.unackedStanzas = 0;
    link.bufferedBytes = -1000;
    outbox.drained();
    await Promise.all([...own, ...answers]);
    expect(link.written).toEqual(["1", "2", "3", "5", "6"]);
  });

  it("X1: what waits is refused when the link goes, and does not turn up on the next link", async () => {
    const outbox = new Outbox(BOUNDS);
    const link = new SlowLink();
    link.unackedStanzas = 5;
    outbox.attach(link);
    const waiting = outbox.send(stanza(1));
    outbox.detach({ kind: "offline", message: "gone" });
    expect(await waiting).toEqual({ kind: "offline", message: "gone" });
    expect(await outbox.send(stanza(2))).toEqual({ kind: "offline", message: "gone" });
    const next = new SlowLink();
    outbox.attach(next);
    outbox.drained();
    expect(await outbox.send(stanza(3))).toEqual({ kind: "sent" });
    expect([link.written, next.written]).toEqual([[], ["3"]]);
  });

  it("counts bytes, not characters, for the bound of a stanza", async () => {
    const outbox = new Outbox(BOUNDS);
    outbox.attach(new SlowLink());
    expect(await outbox.send(new Element("message").t("雪".repeat(27)))).toEqual({ kind: "sent" });
    const refused = await outbox.send(new Element("message").t("雪".repeat(28)));
    expect(refused).toMatchObject({ kind: "too-big", message: expect.stringContaining("103 bytes, 100 are allowed") });
  });
});
