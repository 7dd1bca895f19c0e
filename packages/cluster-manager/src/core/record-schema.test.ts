import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CorruptRecordError, decodeRecord } from "./record-schema.ts";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { ScriptedSite } from "./scripted-site.fixture.ts";

describe("stored records", () => {
  it("S1: whatever stands in the store is a record, is of another kind, or is refused with its key", () => {
    const kinds = fc.constantFrom(
      "request",
      "vm",
      "host",
      "lend/beta.test",
      "borrow/beta.test",
      "peer",
      "site-key",
      "watch",
      "",
    );
    fc.assert(
      fc.property(kinds, fc.string(), fc.anything(), (kind, id, value) => {
        const key = `${kind}/${id}`;
        try {
          expect(decodeRecord(key, value)).toBeUndefined();
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptRecordError);
          expect(error).toMatchObject({ key });
        }
      }),
    );
  });

  it("reads back what the core stored, field for field", () => {
    const site = new ScriptedSite({ hosts: [new ScriptedHost("h1")] });
    site.create({ name: "web", count: 2, expiresAfterMs: 60_000 });
    site.flow();
    expect(site.store.size).toBe(4);
    for (const [key, value] of site.store) expect(decodeRecord(key, value)?.record).toEqual(value);
  });
});
