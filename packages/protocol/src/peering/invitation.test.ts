import { describe, expect, it } from "vitest";
import { decodeInvitation, encodeInvitation, type Invitation } from "./invitation.ts";
import { TERMS_IMAGES_MAX } from "./terms.ts";

const INVITATION: Invitation = {
  v: 1,
  invitation: "01900000-0000-7000-8000-000000000001",
  site: "alpha.example",
  cloud: "cloud.alpha.example",
  key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  keySequence: 1,
  for: "beta.example",
  secret: "c".repeat(43),
  expiresAt: 1_800_000_000,
  lend: { accept: true, sharePermille: 250, leaseMsMax: 3_600_000, vmsMax: 100, images: [] },
  borrow: true,
};

describe("the token of an invitation", () => {
  it("is one word short enough for a chat line, and comes back unchanged", () => {
    const token = encodeInvitation(INVITATION);
    expect(token).toMatch(/^[A-Za-z0-9_-]{1,500}$/);
    expect(decodeInvitation(token)).toEqual({ ok: true, value: INVITATION });
    const full = { ...INVITATION, borrow: false, lend: { ...INVITATION.lend, accept: false, images: ["debian-12"] } };
    expect(decodeInvitation(encodeInvitation(full))).toEqual({ ok: true, value: full });
  });

  it("comes back with as much as it may hold", () => {
    const images = Array.from({ length: TERMS_IMAGES_MAX }, () => `sha256:${"a".repeat(64)}`);
    const long = { ...INVITATION, lend: { ...INVITATION.lend, images } };
    expect(decodeInvitation(encodeInvitation(long))).toEqual({ ok: true, value: long });
  });

  it("carries the account as which the invited site is to come, with the certificates of its server", () => {
    const reach = {
      jid: "cloud-beta.example@alpha.example",
      service: "xmpps://alpha.example:5223",
      token: "t".repeat(24),
      ca: `-----BEGIN CERTIFICATE-----\n${"A".repeat(6_000)}\n`,
    };
    const token = encodeInvitation({ ...INVITATION, reach });
    expect(decodeInvitation(token)).toEqual({ ok: true, value: { ...INVITATION, reach } });
    const { ca: _ca, ...known } = reach;
    expect(decodeInvitation(encodeInvitation({ ...INVITATION, reach: known }))).toMatchObject({
      value: { reach: known },
    });
    for (const [field, change] of [
      ["reach.jid", { jid: "Cloud@alpha.example" }],
      ["reach.jid", { jid: "alpha.example" }],
      ["reach.service", { service: "http://alpha.example" }],
      ["reach.token", { token: "" }],
    ] as const) {
      const decoded = decodeInvitation(encodeInvitation({ ...INVITATION, reach: { ...reach, ...change } }));
      expect(decoded).toMatchObject({ ok: false, error: [{ field }] });
      expect(JSON.stringify(decoded)).not.toContain(reach.token);
    }
  });

  it.each([
    ["", /not base64url/],
    ["two words", /not base64url/],
    [encodeInvitation(INVITATION).slice(0, -3), /cut off or altered/],
    ["a".repeat(20_000), /longer than/],
    [Buffer.from("[]").toString("base64url"), /v/],
    [Buffer.from("null").toString("base64url"), /./],
  ])("S1: says what is wrong with %j", (token, said) => {
    const decoded = decodeInvitation(token);
    expect(decoded.ok ? "" : JSON.stringify(decoded.error)).toMatch(said);
  });

  it.each([
    ["another version", { v: 2 }, "v"],
    ["another site's address", { cloud: "cloud.mallory.example" }, "cloud"],
    ["a share above one", { lend: { ...INVITATION.lend, sharePermille: 1_001 } }, "lend.sharePermille"],
    ["a key that is none", { key: "short" }, "key"],
  ])("S1: names the field of %s, and S3: quotes nothing of it", (_what, change, field) => {
    const decoded = decodeInvitation(encodeInvitation(Object.assign({ ...INVITATION }, change)));
    expect(decoded).toMatchObject({ ok: false, error: [{ field }] });
    expect(JSON.stringify(decoded)).not.toContain(INVITATION.secret);
  });
});
