import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bareAddress, domainOf, parseAddress, prepareAddress, sameAddress } from "./address.ts";

describe("address", () => {
  it("reads each form, and folds case everywhere but in the resource", () => {
    expect(parseAddress("Cloud.Alpha.test")).toEqual({ local: "", domain: "cloud.alpha.test", resource: "" });
    expect(parseAddress("HM@alpha.test/Desk@Home/2")).toEqual({
      local: "hm",
      domain: "alpha.test",
      resource: "Desk@Home/2",
    });
    expect(sameAddress("HM@Alpha.test/x", "hm@alpha.test/x")).toBe(true);
    expect(sameAddress("hm@alpha.test/X", "hm@alpha.test/x")).toBe(false);
  });

  it("never takes a bare address for a full one", () => {
    expect(sameAddress("hm@alpha.test", "hm@alpha.test/desk")).toBe(false);
    expect(bareAddress("Hm@Alpha.test/desk")).toBe("hm@alpha.test");
    expect(domainOf("hm@alpha.test/desk")).toBe("alpha.test");
  });

  it("refuses what is no address, and takes it as equal to itself only", () => {
    for (const text of ["", "@", "@alpha.test", "hm@", "hm@alpha.test/", "/x", "a b@c", "a@b@c", "a@b c"]) {
      expect(parseAddress(text), text).toBeUndefined();
    }
    expect(parseAddress(`${"x".repeat(1024)}@alpha.test`)).toBeUndefined();
    expect(sameAddress("@", "@")).toBe(true);
    expect(domainOf("@")).toBe("");
  });

  it("S1: any text is read or refused, and preparing is done once", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const prepared = prepareAddress(text);
        expect(prepareAddress(prepared)).toBe(prepared);
      }),
    );
  });
});
