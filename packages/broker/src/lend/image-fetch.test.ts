import type { HoldImage, ImageFetch } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { holdOf, SPEC } from "../broker.fixture.ts";
import type { LenderPolicy } from "../peering/peering.ts";
import { urlsAllowed } from "./image-fetch.ts";
import { ask, env, offerQuery, PEER, withPolicy } from "./lender.fixture.ts";
import { createLender } from "./lender.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const IMAGE: HoldImage = {
  digest: DIGEST,
  format: "qcow2",
  bytes: 3 * 2 ** 30,
  virtualMiB: 4_096,
  urls: ["https://images.alpha.test/tiny?ticket=secret"],
};
const FETCH: ImageFetch = { urls: ["https://images.alpha.test/"], maxGiB: 4 };
const WISH = { spec: { ...SPEC, image: DIGEST }, image: IMAGE };

function hold(policy: Partial<LenderPolicy>, image: Partial<HoldImage> | undefined = {}) {
  const said = image === undefined ? {} : { image: { ...IMAGE, ...image } };
  return ask(createLender(), { kind: "hold", body: holdOf({ spec: WISH.spec, ...said }) }, withPolicy(policy));
}

describe("lender: an image that it has not", () => {
  it("B5: is not fetched unless the policy says so: the hold is refused as ever", () => {
    expect(hold({}).refusal).toMatchObject({ reason: "unknown-image" });
  });

  it("is held where the address and the size are within the policy", () => {
    expect(hold({ imageFetch: FETCH }).answer).toMatchObject({ kind: "held" });
    expect(hold({ imageFetch: FETCH, images: [DIGEST] }).answer).toMatchObject({ kind: "held" });
  });

  it("is unknown where the request does not say where it is, and the lender says from where it would be fetched", () => {
    const body = holdOf({ spec: WISH.spec });
    const { refusal } = ask(createLender(), { kind: "hold", body }, withPolicy({ imageFetch: FETCH }));
    expect(refusal).toMatchObject({
      reason: "unknown-image",
      message: expect.stringContaining("up to 4 GiB are fetched from https://images.alpha.test/"),
    });
  });

  it("B5: is not fetched where it is not among the images that are granted", () => {
    expect(hold({ imageFetch: FETCH, images: ["debian-12"] }).refusal).toMatchObject({ reason: "image-not-granted" });
  });

  it("is not fetched where it is larger than the policy says, and the refusal has both figures", () => {
    expect(hold({ imageFetch: { ...FETCH, maxGiB: 2 } }).refusal).toMatchObject({
      kind: "policy-violation",
      reason: "image-not-fetched",
      field: "image.bytes",
      message: "the image has 3.00 GiB; at most 2 GiB are fetched for your site",
    });
  });

  it.each([
    "https://images.alpha.test.evil.test/tiny",
    "https://images.alpha.test@evil.test/tiny",
    "https://ann:pw@images.alpha.test/tiny",
    "http://images.alpha.test/tiny",
    "https://images.alpha.test:8443/tiny",
  ])("B5, S3: is not fetched from %s, and the refusal does not repeat it", (url) => {
    const { refusal } = hold({ imageFetch: FETCH }, { urls: [url] });
    expect(refusal).toMatchObject({ reason: "image-not-fetched", field: "image.urls" });
    expect(JSON.stringify(refusal)).not.toContain(url);
  });

  it("counts whole parts of a path, as they are once dots are taken out", () => {
    const allowed = (url: string) =>
      urlsAllowed({ imageFetch: { ...FETCH, urls: ["https://a.test/images"] } }, { ...IMAGE, urls: [url] });
    expect(allowed("https://a.test/images")).toHaveLength(1);
    expect(allowed("https://a.test/images/x?ticket=1")).toHaveLength(1);
    expect(allowed("https://a.test/images-of-others/x")).toEqual([]);
    expect(allowed("https://a.test/images/../secret")).toEqual([]);
    expect(allowed("https://a.test/images/%2e%2e/secret")).toEqual([]);
  });

  it("leaves only the addresses that the policy names", () => {
    const urls = ["https://cdn.test/tiny", ...IMAGE.urls];
    expect(urlsAllowed({ imageFetch: FETCH }, { ...IMAGE, urls })).toEqual(IMAGE.urls);
    expect(urlsAllowed({}, { ...IMAGE, urls })).toEqual([]);
  });

  it("B1: waits for an approval, and is fetched then from where the newest asking says", () => {
    const lender = createLender();
    const part = withPolicy({ imageFetch: FETCH, approveAbove: { vcpus: 1 } });
    const body = holdOf(WISH);
    expect(ask(lender, { kind: "hold", body }, part).refusal).toMatchObject({ reason: "awaiting-approval" });
    lender.step({ kind: "decide", ticket: 3, id: body.id, approve: true }, env(part));
    const urls = ["https://images.alpha.test/tiny?ticket=newer"];
    const again = { ...body, image: { ...IMAGE, urls } };
    expect(ask(lender, { kind: "hold", body: again }, part).answer).toMatchObject({ kind: "held" });
    expect(lender.find(PEER, body.id)?.hold?.image?.urls).toEqual(urls);
  });

  it("is explained: what is fetched, and what this one comes to", () => {
    const rules = (policy: Partial<LenderPolicy>, wish: Partial<typeof WISH>) =>
      createLender()
        .explain(PEER, { spec: WISH.spec, leaseMs: 60_000, ...wish }, env(withPolicy(policy)))
        ?.rules.filter(({ rule }) => rule.startsWith("image"));
    expect(rules({ imageFetch: FETCH }, WISH)).toEqual([
      { rule: "image", verdict: "grants", message: `image ${DIGEST} may be fetched` },
      {
        rule: "image-fetch",
        verdict: "grants",
        message: "images up to 4 GiB are fetched from https://images.alpha.test/",
      },
    ]);
    expect(rules({}, WISH)).toMatchObject([{ rule: "image", verdict: "refuses" }]);
  });

  it("is told in the offer where images are fetched, and nowhere else", () => {
    const offered = (policy: Partial<LenderPolicy>) => ask(createLender(), offerQuery(), withPolicy(policy)).answer;
    expect(offered({ imageFetch: FETCH })).toMatchObject({ body: { fetchesImages: true } });
    expect(offered({})).not.toHaveProperty("body.fetchesImages");
  });
});

describe("digest of a hold with an image", () => {
  it("B1: is another for another content, and the same for another ticket", () => {
    const id = "01900000-0000-7000-8000-0000000000aa";
    const digestWith = (image: HoldImage | undefined) => holdOf({ ...WISH, id, image }).digest;
    const plain = digestWith(IMAGE);
    expect(digestWith({ ...IMAGE, urls: ["https://images.alpha.test/tiny?ticket=2"] })).toBe(plain);
    expect(digestWith({ ...IMAGE, bytes: 1 })).not.toBe(plain);
    expect(digestWith(undefined)).not.toBe(plain);
  });

  it("refuses an image that is not the one of the VM", () => {
    const body = holdOf({ spec: SPEC, image: IMAGE });
    expect(ask(createLender(), { kind: "hold", body }, withPolicy({ imageFetch: FETCH })).refusal).toMatchObject({
      kind: "bad-request",
      reason: "other-image",
    });
  });
});
