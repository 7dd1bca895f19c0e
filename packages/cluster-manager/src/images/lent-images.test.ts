/** Two sites: a VM whose image the lender has not, from the borrower's catalogue to what the lender's host is told. */
import type { LenderPolicy } from "@muster/broker";
import { describe, expect, it } from "vitest";
import { ALPHA, BETA, Federation } from "../core/scripted-federation.fixture.ts";
import { peering, SMALL } from "../core/scripted-site.fixture.ts";
import { changeImage, digestNumber, giveImage, guestTold, makeNetwork } from "./guest-site.fixture.ts";

const NOTHING = { accept: false, share: 0, leaseMsMax: 0, vmsMax: 0, images: [] };
const DIGEST = digestNumber("7");
const URL = "https://images.alpha.test/tiny?ticket=s3cret";
const FETCH = { urls: ["https://images.alpha.test/"], maxGiB: 1 };

/** Alpha is full, has the image and borrows; beta lends by this policy. */
function federation(lend: Partial<LenderPolicy>): Federation {
  const both = new Federation(1, {
    alpha: { peerings: [peering(BETA, { lend: NOTHING })] },
    beta: { peerings: [peering(ALPHA, { lend: { ...peering(ALPHA).lend, ...lend }, borrow: false })] },
  });
  both.alpha.create({ name: "fill", count: 4 });
  giveImage(both.alpha, { digest: DIGEST, tags: ["tiny"], projects: ["default"], url: URL });
  both.exchange();
  return both;
}

function sendAway(both: Federation, seconds = 3) {
  both.alpha.create({ name: "away", burst: "only", spec: { ...SMALL, image: "tiny" } });
  both.advance(seconds * 1_000);
  return both.alpha.vm("away");
}

const why = (both: Federation) => both.alpha.core.views.why(both.alpha.vm("away").id, both.alpha.nowMs);

describe("an image that only the borrower has", () => {
  it("is fetched by the lender's host from the borrower's address, and is in no catalogue of the lender's", () => {
    const both = federation({ imageFetch: FETCH });
    const vm = sendAway(both);
    expect(vm).toMatchObject({ phase: "running", place: { kind: "peer", peer: BETA } });
    expect(guestTold(both.beta, vm.id)?.image).toEqual({
      digest: DIGEST,
      format: "qcow2",
      bytes: 1_000,
      virtualMiB: 3_072,
      urls: [URL],
      direct: true,
    });
    expect([...both.beta.store.keys()].filter((key) => key.startsWith("image/"))).toEqual([]);
  });

  it("L3: is told to the next host as well after a new start of the lender's manager", () => {
    const both = federation({ imageFetch: FETCH });
    const vm = sendAway(both);
    both.beta.effects.length = 0;
    both.beta.restart();
    const host = [...both.beta.hosts.values()].find(({ attempts }) => attempts.has(vm.id));
    host?.fail(vm.id, "gone");
    both.advance(20_000);
    expect(guestTold(both.beta, vm.id)?.image).toMatchObject({ digest: DIGEST, urls: [URL], direct: true });
  });

  it("is on the lender's default network, as with an image of the lender's own", () => {
    const both = federation({ imageFetch: FETCH });
    makeNetwork(both.beta, { name: "front", projects: "*", default: true });
    for (const host of both.beta.hosts.values())
      both.beta.step({
        kind: "host-capacity",
        host: host.name,
        capacity: host.capacity({ networks: { abilities: ["vxlan"], bridges: [], lacks: [] } }),
      });
    both.exchange();
    const vm = sendAway(both);
    expect(guestTold(both.beta, vm.id)?.nics).toMatchObject([{ network: "front" }]);
  });

  it("B5: is asked of no peer whose policy fetches none, and `why` says so", () => {
    const both = federation({});
    expect(sendAway(both).phase).toBe("queued");
    expect(why(both)?.candidates).toContainEqual(expect.objectContaining({ name: BETA, reason: "image-not-offered" }));
  });

  it("B5: is refused from another address than the policy names, or when it is too large, and `why` says so", () => {
    for (const imageFetch of [
      { ...FETCH, urls: ["https://elsewhere.test/"] },
      { ...FETCH, maxGiB: 1e-7 },
    ]) {
      const both = federation({ imageFetch });
      expect(sendAway(both).phase).toBe("queued");
      expect(why(both)?.candidates).toContainEqual(
        expect.objectContaining({ name: BETA, reason: "image-not-fetched" }),
      );
      expect(guestTold(both.beta, both.alpha.vm("away").id)).toBeUndefined();
    }
  });

  it("B5: is not fetched past what the lender itself says of it: withdrawn, or not for peers", () => {
    const withdrawn = federation({ imageFetch: FETCH });
    giveImage(withdrawn.beta, { digest: DIGEST, tags: ["tiny"], projects: "*" });
    changeImage(withdrawn.beta, "tiny", { kind: "withdraw" });
    const kept = federation({ imageFetch: FETCH });
    giveImage(kept.beta, { digest: DIGEST, tags: ["tiny"], projects: ["secret"] });
    for (const [both, reason] of [
      [withdrawn, "image-withdrawn"],
      [kept, "unknown-image"],
    ] as const) {
      expect(sendAway(both).phase).toBe("queued");
      expect(why(both)?.candidates).toContainEqual(expect.objectContaining({ name: BETA, reason }));
    }
  });

  it("S3: no view of either site shows the address", () => {
    const both = federation({ imageFetch: FETCH });
    sendAway(both);
    for (const { core, nowMs } of [both.alpha, both.beta]) {
      const shown = JSON.stringify([core.views.leases(nowMs), why(both)]);
      expect(shown).not.toContain("s3cret");
    }
    for (const { effects } of [both.alpha, both.beta])
      expect(JSON.stringify(effects.filter(({ kind }) => kind === "event"))).not.toContain("s3cret");
  });

  it("B3: of which a host gets another content leaves nothing behind: the lease ends, and the borrower looks elsewhere", () => {
    const both = federation({ imageFetch: FETCH });
    for (const host of both.beta.hosts.values()) host.failsStarts = "the image's content does not match its digest";
    sendAway(both);
    for (let seconds = 0; seconds < 60 && both.alpha.vm("away").place.kind === "peer"; seconds += 1)
      both.advance(1_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "queued", place: { kind: "none" } });
    expect(why(both)?.candidates).toContainEqual(
      expect.objectContaining({
        name: BETA,
        reason: "took-it-back",
        message: expect.stringContaining("its image is fetched from your site"),
      }),
    );
    expect(both.beta.core.views.leases(both.beta.nowMs).filter(({ stage }) => stage === "leased")).toEqual([]);
    expect(both.alpha.core.views.leases(both.alpha.nowMs).filter(({ stage }) => stage === "leased")).toEqual([]);
    for (const host of both.beta.hosts.values()) expect(host.used).toMatchObject({ vcpus: 0, memoryMiB: 0 });
  });
});
