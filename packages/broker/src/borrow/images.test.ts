import type { ImageContent } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { SPEC, want } from "../broker.fixture.ts";
import { BETA, FULL, GAMMA, heldAnswer, leasedAnswer, offer, Site, state } from "./borrower.fixture.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const IMAGE: ImageContent = { digest: DIGEST, format: "raw", bytes: 1_000, virtualMiB: 1 };
const spec = { ...SPEC, image: DIGEST };

function looking(peerings = [BETA]): Site {
  const site = new Site(peerings);
  site.step(want({ spec, image: IMAGE }));
  return site;
}

describe("borrower: an image that a peer has not", () => {
  it("is named to a peer that fetches, with where it is now: that is said anew with each asking, and not stored (S3)", () => {
    const site = looking();
    site.answerOffers({ images: [], fetchesImages: true });
    const first = site.sent("hold").request;
    expect(first).toMatchObject({ body: { image: { ...IMAGE, urls: [site.ticketed(DIGEST)] } } });
    expect(site.record()).toMatchObject({ image: IMAGE });
    expect(JSON.stringify(site.record())).not.toContain("ticket");
    site.unknown("hold", 5_000);
    site.untilSent("hold");
    const second = site.sent("hold").request;
    expect(second).toMatchObject({ body: { image: { ...IMAGE, urls: [site.ticketed(DIGEST)] } } });
    expect(second).not.toEqual(first);
    expect(second).toMatchObject({ body: { digest: site.record()?.digest } });
  });

  it("S3: is not named to a peer that has it, nor to one that does not fetch", () => {
    const having = looking();
    having.answerOffers({ images: [DIGEST], fetchesImages: true });
    expect(having.sent("hold").request.body).not.toHaveProperty("image");
    const cut = looking();
    cut.answerOffers({ images: Array.from({ length: 100 }, (_, index) => `other-${index}`) });
    expect(cut.sent("hold").request.body).not.toHaveProperty("image");
  });

  it("P4: makes a peer that does not fetch no candidate, and one that does one", () => {
    const site = looking([BETA, GAMMA]);
    site.answer("offer-query", { kind: "offer", body: offer({ images: [] }) }, BETA.domain);
    site.answer("offer-query", { kind: "offer", body: offer({ images: [], fetchesImages: true }) }, GAMMA.domain);
    expect(site.outstanding("hold").map(({ peer }) => peer)).toEqual([GAMMA.domain]);
    const effects = site.refuse("hold", FULL);
    expect(effects).toContainEqual(
      expect.objectContaining({
        kind: "not-placed",
        candidates: expect.arrayContaining([
          expect.objectContaining({ name: BETA.domain, reason: "image-not-offered" }),
        ]),
      }),
    );
  });

  it("B2: asks elsewhere, and not the same peer again at once, where that gave it back without ever running it", () => {
    const site = looking([BETA, GAMMA]);
    site.answerOffers({ images: [], fetchesImages: true });
    site.answer("hold", heldAnswer(site));
    site.answer("lease", leasedAnswer(site));
    const over = state(site, { revision: 9, stage: "released", vm: "refused", reason: "no image" });
    site.step({ kind: "notice", peer: BETA.domain, notice: { states: [over] } });
    expect(site.record()).toBeUndefined();
    site.step(want({ spec, image: IMAGE }));
    site.answerOffers({ images: [], fetchesImages: true });
    expect(site.sent("hold").peer).toBe(GAMMA.domain);
  });

  it("goes on to the next peer with it where the first one will not fetch from there", () => {
    const site = looking([BETA, GAMMA]);
    site.answerOffers({ images: [], fetchesImages: true });
    site.refuse("hold", { ...FULL, kind: "policy-violation", reason: "image-not-fetched" });
    site.answerOffers({ images: [], fetchesImages: true });
    expect(site.sent("hold")).toMatchObject({ peer: GAMMA.domain, request: { body: { image: IMAGE } } });
  });
});
