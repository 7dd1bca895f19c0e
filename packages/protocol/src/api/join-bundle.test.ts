import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeJoinBundle, encodeJoinBundle, type JoinBundle } from "./join-bundle.ts";

const BUNDLE: JoinBundle = {
  v: 1,
  site: "alpha.test",
  name: "h7",
  service: "xmpps://127.0.11.1:5223",
  token: "tok-1",
  ca: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
};

const encoded = (content: unknown): string => Buffer.from(JSON.stringify(content)).toString("base64url");

function faultsOf(text: string): string[] {
  const read = decodeJoinBundle(text);
  return read.ok ? [] : read.error.map(({ field, message }) => `${field} ${message}`);
}

describe("the join bundle", () => {
  it("reads back what was written, as one word that no shell takes apart", () => {
    const text = encodeJoinBundle(BUNDLE);
    expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(decodeJoinBundle(text)).toEqual({ ok: true, value: BUNDLE });
  });

  it("S1: names the field that is wrong, missing or unknown", () => {
    expect(faultsOf(encoded({ ...BUNDLE, v: 2 }))).toEqual([expect.stringMatching(/^v is of another version/)]);
    expect(faultsOf(encoded({ ...BUNDLE, site: "Alpha Test" }))).toEqual([expect.stringMatching(/^site must be/)]);
    expect(faultsOf(encoded({ ...BUNDLE, service: "http://x" }))).toEqual([expect.stringMatching(/^service must be/)]);
    expect(faultsOf(encoded({ ...BUNDLE, name: undefined }))).toEqual([expect.stringMatching(/^name /)]);
    expect(faultsOf(encoded({ ...BUNDLE, ca: "x" }))).toEqual([expect.stringMatching(/^ca must be certificates/)]);
    expect(faultsOf(encoded({ ...BUNDLE, tokn: "x" }))).toEqual([expect.stringMatching(/^tokn unknown key/)]);
    expect(faultsOf(encoded([1]))).not.toEqual([]);
  });

  it("S2, S3: takes any text, within a bound, and never says what is in it", () => {
    const anyText = fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.json().map(encoded));
    fc.assert(
      fc.property(anyText, (text) => {
        expect(faultsOf(text)).not.toEqual([]);
      }),
    );
    const cut = encodeJoinBundle(BUNDLE).slice(0, 100);
    expect(faultsOf(cut)).toEqual([expect.stringMatching(/is cut off or altered: copy the whole command/)]);
    for (const more of ["x", "A", "-"])
      expect(faultsOf(`${encodeJoinBundle(BUNDLE)}${more}`)).toEqual([expect.stringMatching(/cut off or altered/)]);
    expect(faultsOf("A".repeat(65_537))).toEqual([expect.stringMatching(/is longer than/)]);
    expect(faultsOf(encoded({ ...BUNDLE, token: "s3cret token" })).join()).not.toContain("s3cret");
  });
});
