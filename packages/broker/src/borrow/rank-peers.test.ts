import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SITE, SPEC } from "../broker.fixture.ts";
import { loadBorrowBook, type PeerState, peerState } from "./borrow-book.ts";
import { RANK_WEIGHTS, type Ranked, rankOf, rankWeightsOf } from "./rank-peers.ts";

function state(part: Partial<PeerState> = {}): PeerState {
  return { ...peerState(loadBorrowBook([]), "beta.test"), ...part };
}

function ranked(part: Partial<Ranked> = {}): Ranked {
  return { state: state(), free: SITE, openThere: 0, spec: SPEC, favour: 0.5, reliability: 1, priceMax: 0, ...part };
}

function offering(vcpuHour: number): PeerState {
  const prices = { vcpuHour, memoryGiBHour: 0, gpuHour: 0 };
  const offer = {
    accepting: true,
    free: SITE,
    largest: SITE,
    leaseMsMax: 60_000,
    images: [SPEC.image],
    revision: 0,
    agent: "",
    prices,
  };
  return state({ offer });
}

describe("ranking of peers", () => {
  it("prefers room, low prices, who owes us, who kept its word, and who answers fast; all else equal", () => {
    expect(rankOf(ranked({ openThere: 3 }))).toBeLessThan(rankOf(ranked()));
    expect(rankOf(ranked({ state: offering(2_000), priceMax: 4_000 }))).toBeLessThan(
      rankOf(ranked({ state: offering(1_000), priceMax: 4_000 })),
    );
    expect(rankOf(ranked({ favour: 0.9 }))).toBeLessThan(rankOf(ranked({ favour: 0.1 })));
    expect(rankOf(ranked({ reliability: 0.4 }))).toBeLessThan(rankOf(ranked({ reliability: 0.9 })));
    expect(rankOf(ranked({ state: state({ answerMs: 900 }) }))).toBeLessThan(
      rankOf(ranked({ state: state({ answerMs: 5 }) })),
    );
  });

  it("stays between 0 and 1 whatever it is told", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(1_000),
        fc.nat(100_000),
        fc.nat(60_000),
        (favour, openThere, price, answerMs) => {
          const rank = rankOf(
            ranked({ favour, openThere, state: { ...offering(price), answerMs }, priceMax: 2 * price }),
          );
          expect(rank).toBeGreaterThanOrEqual(0);
          expect(rank).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it("takes an admin's weights by their names", () => {
    expect(rankWeightsOf({})).toEqual(RANK_WEIGHTS);
    expect(rankWeightsOf({ "peer-price": 5, price: 9 })).toEqual({ ...RANK_WEIGHTS, price: 5 });
    const onlyPrice = { capacity: 0, price: 1, fairness: 0, image: 0, reliability: 0, latency: 0 };
    expect(rankOf(ranked({ state: offering(1_000), priceMax: 4_000 }), onlyPrice)).toBe(0.5);
  });
});
