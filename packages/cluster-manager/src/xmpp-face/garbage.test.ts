import { generateSiteKey } from "@muster/broker";
import { NS_BURST } from "@muster/protocol";
import * as fc from "fast-check";
import { Element } from "ltx";
import { afterEach, describe, expect, it } from "vitest";
import { start, stopAll } from "./face-site.fixture.ts";
import { CLOUD, Person } from "./person.fixture.ts";

afterEach(stopAll);

describe("garbage", () => {
  it("S1: whatever element arrives is answered with an error and changes nothing", async () => {
    const bed = await start({
      hosts: ["h1"],
      peers: [{ domain: "beta.test", publicKey: generateSiteKey().publicKey }],
    });
    const beta = await Person.online(bed.network, "cloud.beta.test");
    const host = bed.host("h1").bus;
    const before = [...bed.disk.records.keys()];
    const names = ["notices", "hold", "lease", "renew", "release", "pull", "offer-query", "command", "query"];
    const spaces = ["urn:muster:notice:1", NS_BURST, "urn:muster:command:1", "http://jabber.org/protocol/commands"];
    const plain = fc.string({ unit: "grapheme-ascii", maxLength: 30 });
    const attributes = fc.dictionary(fc.stringMatching(/^[a-z-]{1,8}$/), plain, { maxKeys: 5 });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.constantFrom(...spaces),
        attributes,
        plain,
        async (name, xmlns, attrs, text) => {
          const payload = () => new Element(name, { ...attrs, xmlns }).t(text);
          for (const type of ["get", "set"] as const) {
            expect((await beta.ask(payload(), type, CLOUD, "cloud.beta.test")).kind).toBe("error");
            expect((await host.request({ to: CLOUD, type, payload: payload(), timeoutMs: 3_000 })).kind).toBe("error");
          }
        },
      ),
      { numRuns: 60 },
    );
    const kept = [...bed.disk.records.keys()].filter((key) => !key.startsWith("conduct/"));
    expect(kept).toEqual(before);
    expect(bed.ends).toEqual([]);
  });
});
