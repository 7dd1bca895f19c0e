import { VirtualClock } from "@muster/base";
import { refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import type { CoreEvent } from "../core/event.ts";
import { PEER_WORK_MAX, PeerWatch } from "./peer-watch.ts";

const RATE = { perSecond: 10, burst: 5 };
const PEER = "beta.test";

function watching() {
  const clock = new VirtualClock();
  const told: CoreEvent[] = [];
  return { clock, told, watch: new PeerWatch(clock, (event) => told.push(event)) };
}

describe("watch over what peers say", () => {
  it("S2: lets a peer say so much at once and so much a second, each peer for itself", () => {
    const { clock, watch } = watching();
    for (let index = 0; index < 5; index += 1) expect(watch.admit(PEER, RATE)).toBeUndefined();
    expect(watch.admit(PEER, RATE)).toMatchObject({ reason: "rate-limited", retryAfterMs: 100 });
    expect(watch.admit("gamma.test", RATE)).toBeUndefined();
    clock.advance(200);
    expect([watch.admit(PEER, RATE), watch.admit(PEER, RATE)]).toEqual([undefined, undefined]);
    expect(watch.admit(PEER, RATE)?.reason).toBe("rate-limited");
  });

  it("S2: answers a bounded number of questions of one peer at once", async () => {
    const { watch } = watching();
    const ends: (() => void)[] = [];
    const works = Array.from({ length: PEER_WORK_MAX }, () => {
      expect(watch.admit(PEER)).toBeUndefined();
      return watch.whileWorking(PEER, () => new Promise<void>((resolve) => ends.push(resolve)));
    });
    expect(watch.admit(PEER)?.message).toContain("wait for their answer");
    ends[0]?.();
    await works[0];
    expect(watch.admit(PEER)).toBeUndefined();
    for (const end of ends) end();
    await Promise.all(works);
  });

  it("gathers offences of one kind into one word, and tells of no other refusals", () => {
    const { clock, told, watch } = watching();
    for (let index = 0; index < 40; index += 1) watch.refused(PEER, refusal("not-authorized", "unsigned", "no"));
    watch.refused(PEER, refusal("bad-request", "malformed-hold", "id: missing"));
    watch.refused(PEER, refusal("conflict", "exchange-over", "over"));
    expect(told).toEqual([]);
    clock.advance(250);
    expect(told).toEqual([
      { kind: "peer-offence", peer: PEER, offence: "signature", message: "unsigned: no", count: 40 },
      { kind: "peer-offence", peer: PEER, offence: "malformed", message: "malformed-hold: id: missing", count: 1 },
    ]);
  });
});
