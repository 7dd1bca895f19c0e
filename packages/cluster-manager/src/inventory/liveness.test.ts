import { describe, expect, it } from "vitest";
import { judge, type OwnLink, type SignsOfLife } from "./liveness.ts";

const TIMING = {
  suspectAfterMissed: 3,
  lostAfterMissed: 6,
  settleMs: 5_000,
  commandTimeoutMs: 1_000,
  leaseGraceMs: 1_000,
  rememberMs: 1_000,
};
const UP: OwnLink = { online: true, sinceMs: 0 };
const liveness = (signs: Partial<SignsOfLife>, nowMs: number, link = UP) =>
  judge({ heartbeatMs: 1_000, ...signs }, link, TIMING, nowMs);

describe("liveness by our own clock", () => {
  it("goes from alive over suspect to lost by heartbeats missed, and says when it changes next", () => {
    expect(liveness({ heardAtMs: 10_000 }, 12_999)).toEqual({ liveness: "alive", silent: false, dueMs: 13_000 });
    expect(liveness({ heardAtMs: 10_000 }, 13_000)).toEqual({ liveness: "suspect", silent: false, dueMs: 16_000 });
    expect(liveness({ heardAtMs: 10_000 }, 16_000)).toEqual({ liveness: "lost", silent: true });
  });

  it("takes an unavailable presence for suspect at once, and for lost after its limit", () => {
    const gone = { heardAtMs: 10_000, unavailableAtMs: 10_100 };
    expect(liveness(gone, 10_100).liveness).toBe("suspect");
    expect(liveness(gone, 16_000).liveness).toBe("lost");
  });

  it("knows nothing of a host that was never heard, but after the settling time its VMs are in doubt", () => {
    expect(liveness({}, 4_999)).toEqual({ liveness: "unknown", silent: false, dueMs: 5_000 });
    expect(liveness({}, 5_000)).toEqual({ liveness: "unknown", silent: true });
  });

  it("declares nobody dead for our own silence", () => {
    expect(liveness({ heardAtMs: 0 }, 1e9, { online: false, sinceMs: 100 })).toEqual({
      liveness: "unknown",
      silent: false,
    });
    const back: OwnLink = { online: true, sinceMs: 100_000 };
    expect(liveness({ heardAtMs: 10_000 }, 104_999, back).liveness).toBe("unknown");
    expect(liveness({ heardAtMs: 10_000 }, 105_999, back).liveness).toBe("suspect");
    expect(liveness({ heardAtMs: 10_000 }, 106_000, back).liveness).toBe("lost");
    expect(liveness({ heardAtMs: 100_001 }, 102_000, back).liveness).toBe("alive");
  });
});
